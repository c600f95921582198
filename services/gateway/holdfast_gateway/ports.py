"""What the runtime needs from a broker, as one small interface. Adapters: `broker.jetstream`, `broker.memory`.

The log behind the port is the truth: records of a session have strictly increasing sequences, and every adapter
delivers every record that the log still holds, in order, once. What cannot be had is said, never skipped in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from holdfast.wire import Record, SessionKey
from holdfast.wire.codec import Draft


class SourceUnavailable(Exception):
    """The broker cannot be asked just now. Says nothing about any session; worth a retry."""

    retryable = True


class Located(StrEnum):
    """What a cursor's sequence is, judged inclusively: no cursor is judged from one replica's 404."""

    PRESENT = "present"
    """It is a message of this session, or 0."""
    CLEAN = "clean"
    """It is gone, and nothing of this session was lost between it and the first message left."""
    TRIMMED = "trimmed"
    """It is gone, and so is something behind it."""
    FOREIGN = "foreign"
    """It is a message of another session, or of another incarnation."""
    FUTURE = "future"
    """It is above the stream's last sequence at the leader."""


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive records of one session. `pending`: how many more the answering replica had behind them.

    `exhausted` pages may still be stale: another replica, or the live feed, may know more.
    """

    records: tuple[Record, ...]
    pending: int

    @property
    def exhausted(self) -> bool:
        return self.pending == 0


@dataclass(frozen=True, slots=True)
class Appended:
    """The append is committed at this sequence."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The append was refused: the subject's last sequence is not the expected one. `actual` None: not told."""

    actual: int | None


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Time-out, no leader or no answer: the append may be committed, now or later. Read again before anything else."""

    cause: str


AppendResult = Appended | Refused | Unsettled


class FeedSink(Protocol):
    """Who receives a session's feed. Calls come from the event loop, never concurrently, and must not block."""

    def on_records(self, records: Sequence[Record]) -> None:
        """The next records, in order, none missing that the log still held."""

    def on_caught_up(self) -> None:
        """Once: subscribed, then replayed to the end. What is stored from here on arrives by itself."""

    def on_gap(self, earliest: int) -> None:
        """Records between the last delivered one and `earliest` are gone from the log for good."""

    def on_trouble(self) -> None:
        """A reconnect, or a request on this session's stream that failed or timed out. Clocks of silence restart."""

    def on_gone(self, reason: str) -> None:
        """The stream was replaced by another incarnation (or is gone). The feed is over; open a new one."""


class Feed(Protocol):
    """A running live subscription with replay, repair and tail checks."""

    def close(self) -> None:
        """Stop at once. No call to the sink comes after it. Idempotent."""


class SessionSource(Protocol):
    """The broker, as the runtime sees it. All coroutines may be cancelled at any point without harm."""

    async def incarnation(self, key: SessionKey) -> str:
        """The incarnation of the stream that holds this session. Raises `SourceUnavailable`."""

    def open_feed(self, key: SessionKey, sink: FeedSink, *, after: int = 0) -> Feed:
        """Deliver every record with a sequence above `after`, then live ones, until closed. Survives whatever the
        broker does; reports it through the sink."""

    async def read(self, key: SessionKey, start: int, limit: int = 64) -> Page:
        """At most `limit` records from sequence `start`, inclusive. Any replica answers. Raises `SourceUnavailable`."""

    async def locate(self, key: SessionKey, incarnation: str, sequence: int) -> Located:
        """Judge a cursor. Asks the stream's leader where replicas could be stale. Raises `SourceUnavailable`."""

    async def tail(self, key: SessionKey) -> Record | None:
        """The session's last record as the stream's leader has it, or None. Raises `SourceUnavailable`."""

    async def append(self, key: SessionKey, draft: Draft, expected: int | None) -> AppendResult:
        """Append a message: by expected sequence, or unconditionally (None). Never raises for the broker's doing."""

    async def probe(self, key: SessionKey) -> bool:
        """Whether the stream's leader can be written to: an append that must fail, and failed as it must."""

    def silent_seconds(self, writer: str) -> float | None:
        """Seconds since the last heartbeat hint of this writer's process; None if none was ever heard. A hint only."""

    def nudge(self, key: SessionKey, writer: str) -> None:
        """Have this writer's process look at the session's log now, not at its next append. A hint: it may get lost."""

    @property
    def ready(self) -> bool:
        """Whether the broker answers at the moment."""

    async def close(self) -> None:
        """Release everything. Idempotent."""
