"""A session's frames on this pod: a ring bounded in bytes, in which a viewer is nothing but a place.

L1. An entry is one record's frames, whole; entries are numbered from the first record on and never renumbered.
L2. A `Mark` names the last entry a viewer has. It outlives the entry: with it the viewer is found again in the broker's
    log when the ring has moved on.
L3. What is new since a place is joined once and shared by all who stand there.
L4. The ring gives way at its own bound, and at the pod's: then the session written to longest ago goes first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import Final

from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.core.sse import Encoded

ENTRY_OVERHEAD_BYTES: Final = 256
"""What an entry costs beside its frames."""

PIECE_BYTES: Final = 256 * 1024
"""A write ends with the entry that reaches this. Bounds what a viewer far behind is handed at once."""

MAX_JOINS: Final = 64
"""Joined pieces remembered until the next entry."""


class Mark:
    """A place behind an entry. `total_bytes`: frames of the session up to here, counted from the ring's beginning.
    `lost`: whether the producer was lost there."""

    __slots__ = ("index", "lost", "sequence", "total_bytes")

    def __init__(self, index: int, sequence: int, total_bytes: int, lost: bool) -> None:
        self.index = index
        self.sequence = sequence
        self.total_bytes = total_bytes
        self.lost = lost


ORIGIN: Final = Mark(-1, 0, 0, False)
"""The place before the first entry."""


class RingBudget:
    """The bound over all rings of a pod."""

    __slots__ = ("_logs", "_newest", "limit_bytes", "size_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._logs: OrderedDict[SessionLog, None] = OrderedDict()
        self._newest: SessionLog | None = None

    def grown(self, log: SessionLog, by_bytes: int) -> None:
        """This ring has taken an entry. Others, and at last this one, give way if that is too much."""
        if log is not self._newest:
            self._logs[log] = None
            self._logs.move_to_end(log)
            self._newest = log
        self.size_bytes += by_bytes
        while self.size_bytes > self.limit_bytes:
            oldest = next(iter(self._logs))
            if oldest is log and len(log) == 1:
                return
            oldest.evict_oldest()

    def shrunk(self, log: SessionLog, by_bytes: int) -> None:
        """This ring has given an entry away."""
        self.size_bytes -= by_bytes
        if not len(log):
            self._logs.pop(log, None)
            if self._newest is log:
                self._newest = None


class SessionLog:
    """The ring. `tail` is the mark of the newest entry, `before` the one of the newest entry that is gone."""

    __slots__ = (
        "_budget",
        "_ends",
        "_frames",
        "_head",
        "_joins",
        "_limit_bytes",
        "_marks",
        "before",
        "size_bytes",
        "tail",
    )

    def __init__(self, limit_bytes: int, budget: RingBudget) -> None:
        self._limit_bytes = limit_bytes
        self._budget = budget
        self._marks: list[Mark] = []
        self._frames: list[bytes] = []
        self._ends: list[tuple[int, ...]] = []
        self._head = 0
        self._joins: dict[int, tuple[Piece, Mark]] = {}
        self.size_bytes = 0
        self.tail = ORIGIN
        self.before = ORIGIN

    def __len__(self) -> int:
        return len(self._marks) - self._head

    def append(self, sequence: int, encoded: Encoded, lost: bool = False) -> Mark:
        """Take a record's frames, which must not be empty."""
        data = encoded.data
        tail = self.tail
        mark = self.tail = Mark(tail.index + 1, sequence, tail.total_bytes + len(data), lost)
        self._marks.append(mark)
        self._frames.append(data)
        self._ends.append(encoded.ends)
        if self._joins:
            self._joins.clear()
        cost = len(data) + ENTRY_OVERHEAD_BYTES
        self.size_bytes += cost
        self._budget.grown(self, cost)
        while self.size_bytes > self._limit_bytes and len(self) > 1:
            self.evict_oldest()
        return mark

    def evict_oldest(self) -> None:
        """Give the oldest entry away."""
        at = self._head
        self.before = self._marks[at]
        cost = len(self._frames[at]) + ENTRY_OVERHEAD_BYTES
        self._frames[at] = b""
        self._head = at + 1
        if self._head > 1024 and self._head * 2 > len(self._marks):
            del self._marks[: self._head], self._frames[: self._head], self._ends[: self._head]
            self._head = 0
        self.size_bytes -= cost
        self._budget.shrunk(self, cost)

    def clear(self) -> None:
        """Give everything away. Places stay valid; who stands before them reads from the broker."""
        while len(self):
            self.evict_oldest()
        self._joins.clear()

    def covers(self, sequence: int) -> bool:
        """Whether every entry behind this sequence is still in the ring."""
        return sequence >= self.before.sequence

    def place(self, sequence: int) -> Mark | None:
        """The last entry at or before this sequence; None if the ring does not reach back to it."""
        if sequence >= self.tail.sequence:
            return self.tail
        if sequence < self.before.sequence:
            return None
        at = bisect_right(self._marks, sequence, lo=self._head, key=_sequence) - 1
        return self.before if at < self._head else self._marks[at]

    def following(self, sequence: int) -> int:
        """Sequence of the first entry in the ring behind this one; the next possible one if there is none."""
        at = bisect_right(self._marks, sequence, lo=self._head, key=_sequence)
        return self._marks[at].sequence if at < len(self._marks) else max(sequence, self.tail.sequence) + 1

    def entry(self, mark: Mark) -> Encoded | None:
        """One entry's frames, if the ring has it."""
        at = self._at(mark.index)
        return None if at < self._head or mark is ORIGIN else Encoded(self._frames[at], self._ends[at])

    def since(self, mark: Mark, limit_bytes: int = PIECE_BYTES) -> tuple[Piece, Mark] | None:
        """What comes behind this mark, in one piece of at most about `limit_bytes`, and the place it leads to.

        None if the ring does not reach back to the mark. The mark must not be the tail.
        """
        found = self._joins.get(mark.index)
        if found is not None:
            return found
        start = self._at(mark.index + 1)
        if start < self._head:
            return None
        size, end, count = 0, start, len(self._marks)
        while end < count and (size < limit_bytes):
            size += len(self._frames[end])
            end += 1
        data = self._frames[start] if end == start + 1 else b"".join(self._frames[start:end])
        made = (Piece(data), self._marks[end - 1])
        if len(self._joins) >= MAX_JOINS:
            self._joins.clear()
        self._joins[mark.index] = made
        return made

    def _at(self, index: int) -> int:
        """Where the entry of this number stands in the lists; below the head if it is gone."""
        return index - self.tail.index + len(self._marks) - 1


def _sequence(mark: Mark) -> int:
    return mark.sequence
