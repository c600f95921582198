"""A session on this pod, without its viewers: records in, state and frames out. Pure.

S1. One fold per session and pod; viewers share its frames.
S2. `over` needs three things: the tail is a terminal, the feed has caught up, and nobody has shown a later message.
S3. After an erasure nothing stored before it is sent any more, from the ring or from the broker.
S4. Records lost for good (a feed's gap) are told where they were, and the run state begins anew behind them: whatever
    was known may have ended there, and what comes next says itself which run it belongs to.
"""

from __future__ import annotations

from typing import Final, Protocol

from holdfast.wire import Cursor, Event, Kind, Phase, Record, RunState, step
from holdfast.wire.run import NEW, Output
from holdfast_gateway.core import sse
from holdfast_gateway.core.gaps import opens_with_gap
from holdfast_gateway.core.history import StateHistory
from holdfast_gateway.core.log import ORIGIN, Mark, RingBudget, SessionLog
from holdfast_gateway.core.snapshot import SnapshotBuilder

_QUIET: Final = frozenset({Kind.ALIVE, Kind.TAKEOVER, Kind.LOST, Kind.CANCELLED, Kind.ERASED})
"""Kinds that may tell nothing and still mean something."""

_ERASED: Final = Kind.ERASED
_NO_ITEMS: Final = sse.NO_ITEMS


class Tally(Protocol):
    """Who counts records, over all sessions."""

    records: int
    void_records: int
    unknown_kinds: int
    malformed: int


class SessionCore:
    """`tail` is the sequence of the last record folded, 0 before the first."""

    __slots__ = (
        "_expected",
        "_prefix",
        "caught_up",
        "erased_at",
        "erased_mark",
        "front",
        "history",
        "incarnation",
        "log",
        "snapshot",
        "state",
        "tail",
        "tail_seconds",
        "tally",
    )

    def __init__(self, incarnation: str, ring_bytes: int, budget: RingBudget, tally: Tally) -> None:
        self.incarnation = incarnation
        self._prefix = sse.prefix(incarnation)
        self.state: RunState = NEW
        self.log = SessionLog(ring_bytes, budget)
        self.history = StateHistory()
        self.snapshot: SnapshotBuilder | None = None
        self.tail = 0
        self.tail_seconds = 0.0
        self.caught_up = False
        self.erased_at = 0
        self.erased_mark = ORIGIN
        self.front: Mark | None = None
        """Behind the gap in front of the log, if its beginning is trimmed: where those begin who miss nothing (G1)."""
        self._expected = 0
        self.tally = tally

    def apply(self, record: Record) -> None:
        """Fold the next record."""
        sequence = record.sequence
        before = self.state
        state, outputs = step(before, record)
        self.tail = sequence
        self.tail_seconds = record.time_seconds
        tally = self.tally
        tally.records += 1
        if state is not before:
            self.state = state
            self.history.note(sequence, state)
        if record.malformed:
            tally.malformed += 1
        kind = record.kind
        if kind is _ERASED:
            self.log.clear()
            self.erased_at = sequence
            self.erased_mark = self.log.tail
        if not outputs:
            if kind not in _QUIET:
                tally.void_records += 1
                if kind is Kind.UNKNOWN and not record.marker:
                    tally.unknown_kinds += 1
        elif len(outputs) == 1 and isinstance(event := outputs[0], Event):
            self.log.append(sequence, sse.Encoded(sse.encode_one(self._prefix, sequence, event), _NO_ITEMS), state.lost)
        else:
            if before.phase is Phase.NONE and opens_with_gap(outputs):
                self._front(sequence, outputs[0])
                outputs = outputs[1:]
            if outputs:
                self.log.append(sequence, sse.encode(self.incarnation, sequence, outputs), state.lost)
        if self.snapshot is not None:
            self.snapshot.take(record, outputs, state)

    def _front(self, sequence: int, gap: Output) -> None:
        """The log begins inside a run. Not said where a gap in the feed was told just before."""
        if self.log.tail is ORIGIN:
            self.front = self.log.append(sequence - 1, sse.encode(self.incarnation, sequence, (gap,)))

    def gap(self, earliest: int) -> None:
        """What lay between the last record and this sequence is gone for good."""
        if not self.tail:
            return  # nobody has seen anything of it; the fold tells if a run's opening is missing
        frame = sse.gap("trimmed", self.cursor(self.tail), self.cursor(earliest), None)
        self.log.append(earliest - 1, sse.Encoded(frame, sse.NO_ITEMS))
        self.state = NEW
        self.history.note(earliest - 1, NEW)
        if self.snapshot is not None:
            self.snapshot.gap()

    def expect(self, sequence: int) -> None:
        """Somebody has shown that this sequence of the session exists: until it has come, nothing is over."""
        self._expected = max(self._expected, sequence)

    @property
    def over(self) -> bool:
        """The last run is closed, and that is the end of the log as far as anyone knows."""
        return self.caught_up and self.state.phase is Phase.CLOSED and self.tail >= self._expected

    def cursor(self, sequence: int) -> str:
        """The id of a whole message."""
        return str(Cursor(self.incarnation, sequence))

    def lost_at(self, sequence: int) -> RunState | None:
        """The state behind this sequence, if the producer is lost in it."""
        state = self.history.before(sequence + 1)
        return state if state is not None and state.phase is Phase.OPEN and state.lost else None

    def place(self, sequence: int) -> Mark:
        """The mark for a viewer that has everything up to this sequence, in the ring or before it."""
        mark = self.log.place(sequence) or Mark(BEFORE_RING, sequence, 0, False)
        front = self.front
        if sequence and front is not None and mark.index < front.index and self.log.covers(front.sequence):
            return front
        return mark


BEFORE_RING: Final = -2
"""Index of marks whose entry's number is not known any more."""
