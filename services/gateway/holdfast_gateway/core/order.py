"""One session's feed, put in order: live records, replayed pages and tail checks in, exact sequence or a told gap out.

Pure: no clock, no I/O. The driver feeds it what happened and does what `need` says; the sink is called at once.

Rules, each with its reason. `last` is the sequence of the last record delivered (or the place to start after).

O1. Subscribe before replay, and flush: what is stored after the subscription is live, what is stored before is in the
    log; the other order leaves a hole.
O2. A live record is delivered at once if the broker's back pointer says that nothing lies between: 0 < previous <=
    last, or nothing was ever delivered and previous is 0. Everything else is held and the log is read: republishing is
    at most once, so a hole is ordinary.
O3. A sequence at or below `last` is dropped: a new leader may republish, and pages overlap live.
O4. A read starts at `last` itself, not behind it. If the first record is `last`, then nothing behind it can have been
    trimmed (logs are trimmed and purged from the front), so the page is anchored. No extra request is needed.
O5. What an anchored page says is taken; what it lacks is not believed. A replica may be stale, so while something is
    known to exist above `last` (a held record's back pointer, a tail check), the read is repeated, with backoff.
O6. Only the stream's leader is believed about loss: a page without its anchor, or one whose records' stored back
    pointers do not meet, leads to `CONFIRM`. Replicas expire by their own clocks and can be damaged one by one.
O7. A gap is told only together with the record after it. "Nothing is left" is no gap: there is nothing to place it
    before, and a deposed leader may be the one who says so.
O8. Held records are bounded in bytes. Past the bound they are forgotten and read again: the log is the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from holdfast.wire import Record

DEFAULT_HOLD_BYTES: Final = 1024 * 1024
RECORD_OVERHEAD_BYTES: Final = 512
"""What a held record costs beside its body: names, tuple, dictionary slot. Keeps empty bodies from being free."""

EVENT_OVERHEAD_BYTES: Final = 96
"""What each of its events costs beside its bytes."""

FIRST_RETRY_SECONDS: Final = 0.005
LAST_RETRY_SECONDS: Final = 0.5
ASK_LEADER_AFTER: Final = 4
"""Stale reads in a row before the leader is asked; a replica catches up within milliseconds (9 ms measured)."""

PATIENCE: Final = 60
"""Fruitless leader reads in a row before held records are given up. At 0.5 s each this outlasts a deposed leader, which
answers for up to 14 s."""


class Need(Enum):
    """What the feed waits for."""

    NOTHING = "nothing"
    SUBSCRIBE = "subscribe"
    PAGE = "page"
    """Read a page from `start`, inclusive."""
    CONFIRM = "confirm"
    """Ask the leader: is `last` still there, and which record is the first above it?"""


class OrderSink(Protocol):
    """Who gets the outcome. Called synchronously, after the state is complete."""

    def on_records(self, records: Sequence[Record]) -> None: ...

    def on_caught_up(self) -> None: ...

    def on_gap(self, earliest: int) -> None: ...


class Order:
    """The state machine. One per feed; inputs must not be concurrent."""

    __slots__ = (
        "_closed",
        "_confirm",
        "_flowing",
        "_fruitless",
        "_held",
        "_held_bytes",
        "_hold_bytes",
        "_known",
        "_sink",
        "_subscribed",
        "_told_caught_up",
        "last",
    )

    def __init__(self, sink: OrderSink, *, after: int = 0, hold_bytes: int = DEFAULT_HOLD_BYTES) -> None:
        self.last = after
        self._sink = sink
        self._hold_bytes = hold_bytes
        self._held: dict[int, tuple[Record, int]] = {}
        self._held_bytes = 0
        self._known = after  # the highest sequence known to have been stored
        self._subscribed = False
        self._flowing = False
        self._confirm = False
        self._fruitless = 0
        self._told_caught_up = False
        self._closed = False

    # ------------------------------------------------------------------------------------------ what to do

    @property
    def need(self) -> Need:
        if self._flowing or self._closed:
            return Need.NOTHING
        if not self._subscribed:
            return Need.SUBSCRIBE
        return Need.CONFIRM if self._confirm else Need.PAGE

    @property
    def start(self) -> int:
        """Where a page begins: at the last record itself (O4); 0 is the beginning of the log."""
        return self.last

    @property
    def delay_seconds(self) -> float:
        """How long to wait before doing it. 0 unless the last tries led nowhere."""
        if self._fruitless == 0:
            return 0.0
        return min(FIRST_RETRY_SECONDS * 2.0 ** min(self._fruitless - 1, 16), LAST_RETRY_SECONDS)

    @property
    def flowing(self) -> bool:
        """In order with the log as far as anyone has said."""
        return self._flowing

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    # ------------------------------------------------------------------------------------------ what happened

    def subscribed(self) -> None:
        """The live subscription is in place and flushed (O1)."""
        self._subscribed = True
        self._fruitless = 0

    def live(self, record: Record, body_bytes: int) -> None:
        """A live record has arrived."""
        last = self.last
        sequence = record.sequence
        if sequence <= last or self._closed:
            return
        previous = record.previous
        if previous is not None and previous <= last and (previous or not last):
            self.last = sequence
            if self._held:
                self._discard_old()
            self._sink.on_records((record,))
            return
        self._hold(record, body_bytes)
        self._flowing = False

    def page(self, start: int, records: Sequence[Record], pending: int) -> None:
        """A read from `start` has been answered by some replica: consecutive records, `pending` more behind them."""
        if self._closed:
            return
        if start and not (records and (records[0].sequence == start or 0 < (records[0].previous or 0) <= start)):
            self._confirm = True  # no anchor (O4, O6)
            return
        if not start and self.last and all(record.sequence != self.last for record in records):
            return  # live has given the first record meanwhile, and the beginning of the log is no anchor for it
        place = start
        fresh: list[Record] = []
        broken = False
        for record in records:
            if record.sequence <= place:
                continue
            if record.previous is not None and record.previous > place:
                broken = True
                break
            place = record.sequence
            if place > self.last:
                fresh.append(record)
        if fresh:
            self._deliver(fresh)
        if self._closed:
            return
        if self.last > start:
            self._fruitless = 0
        if broken:
            self._confirm = True
            return
        self._drain()
        if self._closed:
            return
        if pending > 0:
            self._fruitless += self.last <= start
        elif not self._held and self._known <= self.last:
            self._caught_up()
        elif self.last <= start:  # the replica is behind (O5)
            self._fruitless += 1
            self._confirm = self._fruitless >= ASK_LEADER_AFTER

    def confirmed(self, at: int, present: bool, following: Record | None) -> None:
        """The leader's word on `last == at`: whether that record is there, and the first record above it."""
        if self._closed:
            return
        self._confirm = False
        if at != self.last:  # live went on meanwhile: the answer is about the past
            return
        if following is None:
            self._nothing_left()
            return
        pointer = following.previous
        clean = at == 0 or (pointer is not None and 0 < pointer <= at) or (present and not pointer)
        self._fruitless = 0
        if not clean:
            self._sink.on_gap(following.sequence)
            if self._closed:
                return
        self._deliver([following])
        if not self._closed:
            self._drain()

    def failed(self) -> None:
        """A read, a confirmation or a subscription came to nothing: no answer, no leader, no connection."""
        self._fruitless += 1

    def newest(self, sequence: int) -> None:
        """A tail check says that this sequence of the session exists."""
        if sequence > self.last and not self._closed:
            self._known = max(self._known, sequence)
            self._flowing = False

    def trouble(self) -> None:
        """The connection was lost and is back (the subscription with it): what came meanwhile is only in the log."""
        self._flowing = False
        self._fruitless = 0

    def close(self) -> None:
        """No call to the sink comes after it."""
        self._closed = True
        self._forget()

    # ------------------------------------------------------------------------------------------ inside

    def _deliver(self, records: Sequence[Record]) -> None:
        self.last = records[-1].sequence
        self._sink.on_records(records)

    def _hold(self, record: Record, body_bytes: int) -> None:
        self._known = max(self._known, record.sequence)
        if record.sequence in self._held:
            return
        cost = RECORD_OVERHEAD_BYTES + body_bytes + EVENT_OVERHEAD_BYTES * len(record.events)
        self._held[record.sequence] = (record, cost)
        self._held_bytes += cost
        if self._held_bytes > self._hold_bytes:
            self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._held_bytes = 0

    def _discard_old(self) -> None:
        for sequence in [s for s in self._held if s <= self.last]:
            self._held_bytes -= self._held.pop(sequence)[1]

    def _drain(self) -> None:
        """Deliver what is held as far as it joins up (O2)."""
        self._discard_old()
        ready: list[Record] = []
        place = self.last
        for sequence in sorted(self._held):
            record, _ = self._held[sequence]
            if not _joins(record.previous, place):
                break
            place = sequence
            ready.append(record)
        for record in ready:
            self._held_bytes -= self._held.pop(record.sequence)[1]
        if ready:
            self._deliver(ready)

    def _nothing_left(self) -> None:
        """The leader has no record above `last`."""
        if self._held and self._fruitless < PATIENCE:  # live has shown one: the leader is deposed, or it was purged
            self._fruitless += 1
            return
        self._forget()
        self._known = self.last
        self._caught_up()

    def _caught_up(self) -> None:
        self._flowing = True
        self._fruitless = 0
        if not self._told_caught_up:
            self._told_caught_up = True
            self._sink.on_caught_up()


def _joins(previous: int | None, last: int) -> bool:
    """Whether the broker's back pointer says that nothing lies between `last` and its record (O2)."""
    return previous is not None and previous <= last and (previous > 0 or last == 0)
