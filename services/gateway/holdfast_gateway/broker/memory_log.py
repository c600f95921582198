"""A log in memory: what a stream keeps, without a server."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from holdfast.wire import Record, SessionKey, decode
from holdfast.wire.codec import Draft
from holdfast_gateway.ports import Located

_OVERHEAD_BYTES = 256


class Stored(NamedTuple):
    """A record and how it came in. `record.previous` is what a live message says; `expected` what its writer did."""

    key: SessionKey
    record: Record
    expected: int | None
    size_bytes: int

    @property
    def as_read(self) -> Record:
        """As a replica or the leader gives it: the back pointer is the writer's, if there is one."""
        return self.record._replace(previous=self.expected)


class MemoryLog:
    """All sessions in one sequence; bounded in bytes and, if wanted, in age. The oldest go first."""

    def __init__(self, max_bytes: int, max_age_seconds: float | None, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._all: deque[Stored] = deque()
        self._sessions: dict[SessionKey, deque[Stored]] = {}
        self.size_bytes = 0
        self.last = 0

    def append(self, key: SessionKey, draft: Draft, expected: int | None) -> Stored:
        self.last += 1
        record = decode(self.last, draft.headers, draft.body, previous=self.tail(key), time_seconds=self._clock())
        size = len(draft.body) + _OVERHEAD_BYTES + sum(len(k) + len(v) for k, v in draft.headers.items())
        stored = Stored(key, record, expected, size)
        self._all.append(stored)
        self._sessions.setdefault(key, deque()).append(stored)
        self.size_bytes += size
        while self.size_bytes > self._max_bytes and len(self._all) > 1:
            self._drop_oldest()
        return stored

    def of(self, key: SessionKey) -> Sequence[Stored]:
        """What is left of a session."""
        if self._max_age_seconds is not None:
            oldest = self._clock() - self._max_age_seconds
            while self._all and self._all[0].record.time_seconds < oldest:
                self._drop_oldest()
        return self._sessions.get(key) or ()

    def tail(self, key: SessionKey) -> int:
        """The session's last sequence; 0 if it has none."""
        mine = self.of(key)
        return mine[-1].record.sequence if mine else 0

    def locate(self, key: SessionKey, sequence: int) -> Located:
        if sequence > self.last:
            return Located.FUTURE
        if sequence == 0:
            return Located.PRESENT
        mine = self.of(key)
        at = bisect_left(mine, sequence, key=lambda stored: stored.record.sequence)
        if at < len(mine) and mine[at].record.sequence == sequence:
            return Located.PRESENT
        if any(stored.record.sequence == sequence for stored in self._all):
            return Located.FOREIGN
        return Located.CLEAN if at < len(mine) and mine[at].expected == sequence else Located.TRIMMED

    def trim(self, key: SessionKey, upto: int) -> None:
        """Lose a session's records up to and including `upto`."""
        mine = deque(stored for stored in self.of(key) if stored.record.sequence > upto)
        self._all = deque(s for s in self._all if s.key != key or s.record.sequence > upto)
        self.size_bytes = sum(stored.size_bytes for stored in self._all)
        if mine:
            self._sessions[key] = mine
        else:
            self._sessions.pop(key, None)

    def _drop_oldest(self) -> None:
        stored = self._all.popleft()
        self.size_bytes -= stored.size_bytes
        mine = self._sessions[stored.key]
        mine.popleft()
        if not mine:
            del self._sessions[stored.key]
