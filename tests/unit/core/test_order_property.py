"""Any schedule of appends, lost, doubled and late live records, stale and damaged replicas, trims, reconnects and a
deposed leader: what is delivered is strictly increasing and gap-free, or the gap is told."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.wire import Event, Kind, Record
from holdfast_gateway.core.order import Need, Order

PAGE = 3


class World(RuleBasedStateMachine):
    """A stream with one session in it, three views of it, and a feed."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: list[int] = []  # every sequence the session ever had
        self.log: list[tuple[int, int, int | None]] = []  # sequence, predecessor at the time, stored pointer
        self.top = 0
        self.wire: list[Record] = []  # live records under way
        self.told: list[int | tuple[str, int]] = []
        self.caught_up = 0
        self.trimmed: set[int] = set()
        self.asked: tuple[Need, int] | None = None  # a request whose answer is still out
        self.answer: tuple[object, ...] = ()

    # ---- the sink

    def on_records(self, records: Sequence[Record]) -> None:
        assert records
        self.told += [r.sequence for r in records]

    def on_caught_up(self) -> None:
        self.caught_up += 1

    def on_gap(self, earliest: int) -> None:
        self.told.append(("gap", earliest))

    # ---- the world

    @initialize(before=st.integers(0, 6), resume=st.booleans(), hold=st.sampled_from([600, 2000, 10**6]))
    def open(self, before: int, resume: bool, hold: int) -> None:
        for i in range(before):
            self.append(cas=i % 3 != 0, others=i % 2, arrives=False)
        after = self.ever[len(self.ever) // 2] if resume and self.ever else 0
        self.after = after
        self.order = Order(self, after=after, hold_bytes=hold)

    @rule(cas=st.booleans(), others=st.integers(0, 2), arrives=st.sampled_from([True, True, True, False]))
    def append(self, cas: bool, others: int, arrives: bool) -> None:
        self.top += 1 + others
        previous = self.log[-1][0] if self.log else 0
        self.log.append((self.top, previous, previous if cas else None))
        self.ever.append(self.top)
        if arrives and getattr(self, "order", None) is not None and self.order.need is not Need.SUBSCRIBE:
            self.wire.append(Record(self.top, Kind.DATA, (Event(b"x"),), previous=previous))

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), keep=st.booleans())
    def live(self, data: st.DataObject, keep: bool) -> None:
        """The next live record, or one out of its turn; perhaps it will come again."""
        at = data.draw(st.sampled_from([0, 0, 0, len(self.wire) - 1]))
        record = self.wire[at] if keep else self.wire.pop(at)
        self.order.live(record, 1)

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.log)))
        self.trimmed |= {entry[0] for entry in self.log[:count]}
        self.log = self.log[count:]

    @rule()
    def reconnect(self) -> None:
        self.wire.clear()
        self.asked = None
        self.order.trouble()

    @rule(lag=st.integers(0, 2))
    def sweep(self, lag: int) -> None:
        seen = self.log[: len(self.log) - lag]
        if seen:
            self.order.newest(seen[-1][0])

    @precondition(lambda self: self.asked is None and self.order.need is not Need.NOTHING)
    @rule(
        lag=st.integers(0, 3),
        early=st.integers(0, 2),
        hole=st.sampled_from([None, None, None, 0, 1]),
        fails=st.booleans(),
    )
    def ask(self, lag: int, early: int, hole: int | None, fails: bool) -> None:
        """Send the request; the answer is made now and arrives later. A replica may lack the newest, may have trimmed
        earlier than the leader, and may be damaged; a leader may be deposed."""
        need = self.order.need
        if need is Need.SUBSCRIBE:
            self.order.failed() if fails else self.order.subscribed()
            return
        at = self.order.last
        self.asked = (need, at)
        if need is Need.PAGE:
            seen = self.log[early : len(self.log) - lag]
            if hole is not None and hole < len(seen) - 1 and seen[hole + 1][2] is not None:
                # only a hole before a record with a pointer can be seen at all
                seen = seen[:hole] + seen[hole + 1 :]
            self.answer = self.page_of(seen, at)
        else:
            self.answer = self.word_of(self.log[: len(self.log) - lag], at)

    def page_of(self, seen: list[tuple[int, int, int | None]], start: int) -> tuple[object, ...]:
        rows = [row for row in seen if row[0] >= start]
        records, before = [], None
        for sequence, _, pointer in rows[:PAGE]:
            records.append(Record(sequence, Kind.DATA, (), previous=before if pointer is None else pointer))
            before = sequence
        return records, max(0, len(rows) - PAGE)

    def word_of(self, seen: list[tuple[int, int, int | None]], at: int) -> tuple[object, ...]:
        above = next((row for row in seen if row[0] > at), None)
        present = any(row[0] == at for row in seen)
        return present, None if above is None else Record(above[0], Kind.DATA, (), previous=above[2])

    @precondition(lambda self: self.asked is not None)
    @rule(lost=st.sampled_from([False, False, False, True]))
    def arrive(self, lost: bool) -> None:
        assert self.asked is not None
        (need, at), self.asked = self.asked, None
        if lost:
            self.order.failed()
        elif need is Need.PAGE:
            self.order.page(at, *self.answer)  # type: ignore[arg-type]
        else:
            self.order.confirmed(at, *self.answer)  # type: ignore[arg-type]

    # ---- what has to hold

    @invariant()
    def told_is_exact(self) -> None:
        """Strictly increasing; between two neighbours without a told gap, nothing ever was."""
        last, gap = getattr(self, "after", 0), None
        for entry in self.told:
            if isinstance(entry, tuple):
                assert last in self.trimmed or any(last < t < entry[1] for t in self.trimmed), "a gap without a loss"
                gap = entry[1]
                continue
            assert entry > last
            if gap is not None:
                assert entry == gap, "a gap is told right before the record after it"
            elif last:
                between = [s for s in self.ever if last < s < entry]
                assert not between, f"{between} lost in silence between {last} and {entry}"
            last, gap = entry, None
        assert gap is None
        assert self.caught_up <= 1

    def teardown(self) -> None:
        """With the faults gone and one tail check, everything the log has is delivered."""
        if not hasattr(self, "order"):
            return
        for _ in range(2000):
            need = self.order.need
            if need is Need.NOTHING:
                newest = self.log[-1][0] if self.log else 0
                if newest <= self.order.last:
                    break
                self.order.newest(newest)
            elif need is Need.SUBSCRIBE:
                self.order.subscribed()
            elif need is Need.PAGE:
                at = self.order.last
                self.order.page(at, *self.page_of(self.log, at))  # type: ignore[arg-type]
            else:
                at = self.order.last
                self.order.confirmed(at, *self.word_of(self.log, at))  # type: ignore[arg-type]
        else:
            raise AssertionError("the feed never came to rest")
        self.told_is_exact()
        # From the start of the log: a replica may have expired more of it than the leader, and nobody is owed the rest.
        told = [t for t in self.told if isinstance(t, int)]
        begin = self.after or (told[0] if told else 0)
        left = [row[0] for row in self.log if row[0] > begin]
        assert [s for s in left if s not in self.told] == []


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
