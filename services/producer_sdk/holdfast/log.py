"""The port between the SDK and a broker: what a log can do. Adapters: `jetstream` (NATS) and `testing.memory`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from holdfast.answer import Answer
from holdfast.wire import Draft, Namespace, Record, SessionKey


@dataclass(frozen=True, slots=True)
class Place:
    """Where one session lives now: its subjects, and the stream with its incarnation."""

    key: SessionKey
    stored: str
    live: str
    stream: str
    incarnation: str


class Page(NamedTuple):
    """Some records of one session, in order; `more` if the replica that answered has further ones."""

    records: Sequence[Record]
    more: bool


class Watch(Protocol):
    """A live subscription."""

    async def stop(self) -> None:
        """End it. Safe to call twice."""
        ...


class Log(Protocol):
    """An append-only log of sessions. All callbacks run on the event loop, never inside the call that takes them."""

    namespace: Namespace
    servers: tuple[str, ...]
    max_age_seconds: float
    on_up: Callable[[], None]

    @property
    def max_event_bytes(self) -> int:
        """The largest event that can be stored."""
        ...

    def place(self, key: SessionKey) -> Place:
        """Where a session lives."""
        ...

    def append(self, place: Place, draft: Draft, expected: int | None, done: Callable[[Answer], None]) -> None:
        """Append, behind exactly `expected` if that is given. `done` is called once, whatever happens; after UNKNOWN it
        may be called once more, with STORED."""
        ...

    def page(self, place: Place, after: int, done: Callable[[Page | None], None]) -> None:
        """Read some records behind a sequence, from any replica; it may be behind. None: could not be read."""
        ...

    async def watch(self, subject: str, told: Callable[[bytes], None]) -> Watch:
        """Call `told` with the body of whatever is published on a subject, while the connection lasts."""
        ...

    def hint(self, subject: str, body: bytes) -> None:
        """Tell whoever listens, or nobody."""
        ...

    async def last_sequence(self, place: Place) -> int | None:
        """The subject's last sequence as the leader has it; None if no leader answered."""
        ...

    async def purge(self, place: Place, before: int) -> bool:
        """Remove the session's messages before a sequence. False if the broker did not say that it did."""
        ...

    async def refresh(self) -> None:
        """Learn the streams anew. Raises `NotProvisioned`, `ContractMismatch`, `BrokerUnavailable`."""
        ...

    async def close(self) -> None:
        """Let go of the connection. Safe to call twice."""
        ...
