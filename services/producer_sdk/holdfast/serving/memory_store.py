"""Sessions in this process's memory: bounded per session and in all, and expiring."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.serving.places import cleared_after, locate_in, trimmed_between
from holdfast.serving.records import LOST, Outcome, Place, Position, Record, State
from holdfast.serving.store import (
    DEFAULT_IDLE_SECONDS,
    DEFAULT_LEASE_SECONDS,
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_EVENTS,
    DEFAULT_TTL_SECONDS,
    RunLost,
    SessionEnded,
)
from holdfast.wire.event import Event

DEFAULT_TOTAL_BYTES: Final = 256 * 1024 * 1024
"""Of all sessions. When full, ended sessions go first, the longest untouched first, then the oldest events."""

PAGE: Final = 256


@dataclass(slots=True)
class _Session:
    run: str
    state: State = "open"
    records: list[Record] = field(default_factory=list)
    dropped: int = 0
    produced: int = 0
    """By the run itself: what `push` adds from outside does not count."""
    size_bytes: int = 0
    lease_seconds: float = 0.0
    touched: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last(self) -> int:
        return self.dropped + len(self.records)


class MemoryStore:
    """A `SessionStore` for one process and one event loop.

    Args:
        lease_seconds: a run is closed as failed when silent for so long.
        idle_seconds: the same for sessions filled by `push` alone.
        ttl_seconds: how long a session is kept after it was last touched.
        max_events: per session.
        max_bytes: per session, of its data.
        total_bytes: of all sessions together.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        *,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        max_events: int = DEFAULT_MAX_EVENTS,
        max_bytes: int = DEFAULT_MAX_BYTES,
        total_bytes: int = DEFAULT_TOTAL_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease_seconds = lease_seconds
        self._idle_seconds = idle_seconds
        self._ttl_seconds = ttl_seconds
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._total_max_bytes = total_bytes
        self._clock = clock
        self._sessions: dict[str, _Session] = {}  # the longest untouched first
        self._sweep: asyncio.TimerHandle | None = None
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    async def begin(self, session_id: str) -> str | None:
        self._expire()
        if session_id in self._sessions:
            return None
        return self._open(session_id, self.lease_seconds).run

    async def append(self, session_id: str, run: str | None, first: int, events: Sequence[Event]) -> None:
        session = self._writable(session_id, run)
        skip = 0 if run is None else max(0, session.produced + 1 - first)
        for e in events[skip:]:
            self._add(session, "data", e.data.decode("utf-8", "replace"), e.type)
        if run is not None:
            session.produced = max(session.produced, first + len(events) - 1)
        self._touch(session_id, session)

    async def finish(self, session_id: str, run: str | None, outcome: Outcome) -> None:
        try:
            session = self._writable(session_id, run)
        except (SessionEnded, RunLost):
            return
        self._close(session, outcome)
        self._touch(session_id, session)

    async def renew(self, session_id: str, run: str) -> None:
        self._touch(session_id, self._writable(session_id, run))

    async def erase(self, session_id: str) -> None:
        if (session := self._sessions.pop(session_id, None)) is not None:
            self._forget(session)

    async def locate(self, session_id: str, last_id: str) -> Place | None:
        self._expire()
        session = self._sessions.get(session_id)
        if session is None:
            return None
        return locate_in(session.run, session.state, session.dropped, session.last, last_id)

    async def follow(self, session_id: str, run: str, after: Position) -> AsyncGenerator[list[Record], None]:
        while True:
            session = self._sessions.get(session_id)
            if session is None or session.run != run:
                yield [cleared_after(after)]
                return
            if after[0] < session.dropped:
                after, told = trimmed_between(session.run, after, session.dropped)
                yield [told]
            elif page := session.records[after[0] - session.dropped :][:PAGE]:
                after = page[-1].position
                yield page
                if page[-1].terminal:
                    return
            elif session.state != "open":
                return
            else:
                await self._wait(session_id, session)

    async def _wait(self, session_id: str, session: _Session) -> None:
        changed = session.changed
        left = session.touched + session.lease_seconds - self._clock()
        if left <= 0:
            self._close(session, LOST)
            return
        try:
            async with asyncio.timeout(left):
                await changed.wait()
        except TimeoutError:
            pass

    async def aclose(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for session in self._sessions.values():
            self._forget(session)
        self._sessions.clear()

    def _open(self, session_id: str, lease_seconds: float) -> _Session:
        session = self._sessions[session_id] = _Session(secrets.token_hex(6), lease_seconds=lease_seconds)
        self._touch(session_id, session)
        return session

    def _writable(self, session_id: str, run: str | None) -> _Session:
        session = self._sessions.get(session_id)
        if run is not None:
            if session is None or session.run != run:
                raise RunLost(session_id, "cleared")
            if session.state != "open":
                raise RunLost(session_id, "ended")
            return session
        if session is None:
            return self._open(session_id, self._idle_seconds)
        if session.state != "open":
            raise SessionEnded(session_id)
        return session

    def _add(self, session: _Session, kind: str, data: str, type: str = "message") -> None:
        n = session.last + 1
        record = Record((n, 0), f"{session.run}-{n}", kind, data, type)  # type: ignore[arg-type]
        session.records.append(record)
        self._count(session, record.size_bytes)
        over = len(session.records) > self._max_events or session.size_bytes > self._max_bytes
        if over and len(session.records) > 1:
            self._drop_oldest(session)
        changed, session.changed = session.changed, asyncio.Event()
        changed.set()

    def _drop_oldest(self, session: _Session) -> None:
        # An eighth at once, so that a session at its bound is not shifted at every event.
        count = max(1, len(session.records) // 8)
        dropped = session.records[:count]
        del session.records[:count]
        session.dropped += count
        self._count(session, -sum(r.size_bytes for r in dropped))

    def _count(self, session: _Session, size_bytes: int) -> None:
        session.size_bytes += size_bytes
        self.size_bytes += size_bytes

    def _close(self, session: _Session, outcome: Outcome) -> None:
        if session.state == "open":
            session.state = outcome.kind
            self._add(session, outcome.kind, outcome.data)

    def _touch(self, session_id: str, session: _Session) -> None:
        session.touched = self._clock()
        self._sessions[session_id] = self._sessions.pop(session_id)
        self._make_room(session)
        self._schedule()

    def _make_room(self, keep: _Session) -> None:
        if self.size_bytes <= self._total_max_bytes:
            return
        for session_id, session in list(self._sessions.items()):
            if session.state != "open" and session is not keep:
                self._forget(self._sessions.pop(session_id))
                if self.size_bytes <= self._total_max_bytes:
                    return
        while self.size_bytes > self._total_max_bytes and any(len(s.records) > 1 for s in self._sessions.values()):
            self._drop_oldest(max(self._sessions.values(), key=lambda s: s.size_bytes))

    def _forget(self, session: _Session) -> None:
        self.size_bytes -= session.size_bytes
        session.changed.set()

    def _expire(self) -> None:
        now = self._clock()
        for session_id, session in list(self._sessions.items()):
            quiet = now - session.touched
            if session.state == "open" and quiet >= session.lease_seconds:
                self._close(session, LOST)
            if quiet < max(self._ttl_seconds, session.lease_seconds if session.state == "open" else 0):
                continue
            self._forget(self._sessions.pop(session_id))

    def _schedule(self) -> None:
        if self._sweep is None and self._sessions:
            self._sweep = asyncio.get_running_loop().call_later(max(self._ttl_seconds / 4, 0.05), self._swept)

    def _swept(self) -> None:
        self._sweep = None
        self._expire()
        self._schedule()
