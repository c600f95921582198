"""A sink that keeps what it was told, and how to fill a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.wire import Event, Record, SessionKey
from holdfast.wire.codec import Draft, data
from holdfast_gateway.ports import Appended, SessionSource


@dataclass
class Sink:
    """Sequences, gaps and the rest in the order of the calls."""

    told: list[object] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    troubles: int = 0
    gone: str | None = None

    def on_records(self, records: Sequence[Record]) -> None:
        self.records += records
        self.told += [record.sequence for record in records]

    def on_caught_up(self) -> None:
        self.told.append("caught up")

    def on_gap(self, earliest: int) -> None:
        self.told.append(("gap", earliest))

    def on_trouble(self) -> None:
        self.troubles += 1

    def on_gone(self, reason: str) -> None:
        self.gone = reason

    @property
    def sequences(self) -> list[int]:
        return [record.sequence for record in self.records]

    @property
    def caught_up(self) -> bool:
        return "caught up" in self.told


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what happens in another process or task."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def text(body: str) -> Draft:
    return data([Event(body.encode())])


async def fill(source: SessionSource, key: SessionKey, count: int, after: int = 0) -> list[int]:
    """Append by expected sequence; each append has to succeed."""
    sequences = []
    for i in range(count):
        result = await source.append(key, text(f"c{i}"), after)
        assert isinstance(result, Appended), result
        after = result.sequence
        sequences.append(after)
    return sequences
