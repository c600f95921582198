"""A pod or two over one in-memory log, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from holdfast.wire import Cursor, Event, SessionKey, codec
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.ports import Appended
from holdfast_gateway.runtime.api import Attached, HubSettings
from holdfast_gateway.runtime.hub import Hub
from tests.unit.runtime.clients import BufferSink, start
from tests.unit.runtime.virtual_time import now, settle

KEY = SessionKey.of("chat")


class World:
    """`hub` is the first pod, `other` the second. Producers append without looking."""

    def __init__(self, settings: HubSettings) -> None:
        self.source = MemorySource(clock=now, sweep_seconds=0.05)
        self.hub, self.other = (
            Hub(self.source, settings, clock=now, wall=now, dice=random.Random(pod)) for pod in (1, 2)
        )
        self.run = 0
        self.incarnation = ""

    async def append(self, draft: codec.Draft, key: SessionKey = KEY) -> int:
        result = await self.source.append(key, draft, None)
        assert isinstance(result, Appended)
        await settle()
        return result.sequence

    async def start(self, *, lease: float | None = 30.0, name: str | None = None) -> int:
        self.run = await self.append(codec.start("w-1", lease_seconds=lease, name=name))
        return self.run

    async def say(self, *texts: str, writer: str | None = "w-1") -> int:
        run = self.run if writer is not None else None
        return await self.append(codec.data([Event(text.encode()) for text in texts], writer=writer, run=run))

    async def end(self) -> int:
        return await self.append(codec.end("w-1", self.run))

    def id(self, sequence: int, item: int | None = None) -> str:
        return str(self.cursor(sequence, item))

    def cursor(self, sequence: int, item: int | None = None) -> Cursor:
        return Cursor(self.incarnation, sequence, item)

    async def watch(self, hub: Hub | None = None, *, mark_bytes: int = 1 << 30, **asked: Any) -> BufferSink:
        """Attach and start a viewer; everything that is there is read."""
        outcome = await (hub or self.hub).attach(KEY, **asked)
        assert isinstance(outcome, Attached), outcome
        sink = start(outcome.viewer, mark_bytes)
        await settle()
        return sink


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    """Everything is closed at the end, and nothing has failed in the background."""
    made = World(HubSettings(**{"idle_seconds": 0.0, **settings}))
    made.incarnation = await made.source.incarnation(KEY)
    async with made.hub, made.other:
        yield made
    await made.source.close()
    for hub in (made.hub, made.other):
        assert hub.counters.failures == 0
        assert (hub.viewers, hub.sessions, hub.ring_bytes) == (0, 0, 0)


def told(sink: BufferSink) -> list[str]:
    """What the client has been told, briefly: data, or the control event's name."""
    sink.take()
    return [seen.data if seen.event == "message" else seen.event.removeprefix("session.") for seen in sink.seen]
