"""The run's rules under random schedules: many writers, pods, cancels, takeovers, plain clients, loss and trimming.

The log is a list with the broker's one guarantee (an append by expected sequence is refused unless it follows).
Writers, pods and clients do what docs/protocol.md lets them do, in any order, with any amount of stale knowledge: a
writer that was fenced long ago tries again, an uncertain append lands late, two pods judge at once. After every step
the fold of the whole log, and the fold of every suffix of it, are held against what must be true.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from holdfast.wire import NEW, Control, Draft, Event, Kind, Output, Phase, Record, RunState, codec, decode, fences, step
from holdfast.wire.codec import TERMINALS
from holdfast.wire.run import CANCELLED, END, FAILED, GAP, START

CLOSING = {END, FAILED, CANCELLED}
NAMES = ["q", "r"]


@dataclass
class Writer:
    """What a writer knows: its run, where it stands, and the append it is not sure of."""

    id: str
    name: str | None = None
    run: int = 0
    expected: int = 0
    index: int = 0
    over: bool = False
    unsure: Draft | None = None
    acked: list[bytes] = field(default_factory=list)


@dataclass
class Late:
    """An append on its way that nobody waits for any more. It may land at any time, once."""

    draft: Draft
    expected: int


class Reader:
    """A reader from some place of the log on."""

    def __init__(self, after: int, full: RunState) -> None:
        self.after = after
        self.at_start = full
        self.state = NEW
        self.told: list[tuple[int, Output]] = []

    def read(self, record: Record) -> None:
        self.state, outputs = step(self.state, record)
        self.told += [(record.sequence, output) for output in outputs]


class Session(RuleBasedStateMachine):
    """One session's subject and all who append to it."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Record] = []
        self.ever: dict[int, Record] = {}
        self.sequence = 0
        self.writers: list[Writer] = []
        self.late: list[Late] = []
        self.full = Reader(0, NEW)
        self.readers = [self.full]
        self.runs: dict[int, list[str]] = {}  # opened runs, and the terminals told of each
        self.open_run: int | None = None
        self.spoken: dict[int, list[str]] = {}  # by run: which writers' data was told, in order, repeats dropped
        self.stored: dict[str, list[bytes]] = {}
        self.count = 0

    # ------------------------------------------------------------------------------------------------ the broker

    @property
    def tail(self) -> int:
        return self.log[-1].sequence if self.log else 0

    def store(self, draft: Draft) -> Record:
        self.sequence += 1 + self.count % 2  # other sessions' messages lie between
        self.count += 1
        record = decode(self.sequence, draft.headers, draft.body, previous=self.tail)
        before = self.full.state
        self.log.append(record)
        self.ever[record.sequence] = record
        self.readers.append(Reader(self.tail - 1, before))
        seen = len(self.full.told)
        for reader in self.readers:
            reader.read(record)
        self.judge(before, record, [output for _, output in self.full.told[seen:]])
        return record

    def append(self, draft: Draft, expected: int) -> Record | None:
        return self.store(draft) if expected == self.tail else None

    # ------------------------------------------------------------------------------------------------ the writers

    def pick(self, n: int) -> Writer:
        return self.writers[n % len(self.writers)]

    def settle(self, writer: Writer) -> None:
        """Read (expected, tail], take what is ours, stop at what fences."""
        for record in self.log:
            if record.sequence <= writer.expected or writer.over:
                continue
            draft = writer.unsure
            if record.writer == writer.id and draft is not None and record.kind is draft.kind:
                self.committed(writer, record)
            elif writer.run and fences(record, writer.id, writer.run, writer.name):
                writer.over = True
            else:
                writer.expected = record.sequence

    def committed(self, writer: Writer, record: Record) -> None:
        writer.unsure = None
        writer.expected = record.sequence
        if record.kind is Kind.START:
            writer.run = record.sequence
        writer.index += len(record.events)
        writer.acked += [event.data for event in record.events]
        writer.over = writer.over or record.kind in TERMINALS

    def send(self, writer: Writer, draft: Draft, fate: str) -> None:
        if writer.over:
            return
        draft = writer.unsure = writer.unsure or draft
        if fate == "late":
            self.late.append(Late(draft, writer.expected))
            return
        record = self.append(draft, writer.expected)
        if record is None:
            self.settle(writer)
        elif fate == "acked":
            self.committed(writer, record)

    RARELY = st.sampled_from([False] * 5 + [True])
    FATES = st.sampled_from(["acked", "acked", "ack lost", "late"])

    @rule(name=st.sampled_from([None, None, *NAMES]), lease=st.sampled_from([None, 30.0]), fate=FATES, barge=RARELY)
    def start(self, name: str | None, lease: float | None, fate: str, barge: bool) -> None:
        if self.open_run is not None and not barge:
            return
        if name is not None and any(w.name == name for w in self.writers):
            return  # a run id is used once
        writer = Writer(f"w{len(self.writers)}", name, expected=self.tail)
        self.writers.append(writer)
        self.send(writer, codec.start(writer.id, lease_seconds=lease, name=name), fate)

    @precondition(lambda self: self.writers)
    @rule(n=st.integers(0, 5), count=st.integers(1, 3), fate=FATES)
    def write(self, n: int, count: int, fate: str) -> None:
        w = self.pick(n)
        events = [Event(f"{w.id}:{w.index + i}".encode(), ("message", "t")[i % 2]) for i in range(count)]
        if w.run:
            self.send(w, codec.data(events, writer=w.id, run=w.run, index=w.index), fate)
        elif w.unsure is not None:
            self.send(w, w.unsure, fate)  # still opening

    @precondition(lambda self: self.writers)
    @rule(n=st.integers(0, 5), what=st.sampled_from(["alive", "reset", "end", "failed"]), fate=FATES)
    def say(self, n: int, what: str, fate: str) -> None:
        w = self.pick(n)
        if not w.run:
            return
        drafts = {
            "alive": lambda: codec.alive(w.id, w.run, lease_seconds=30.0),
            "reset": lambda: codec.reset(w.id, w.run, index=w.index),
            "end": lambda: codec.end(w.id, w.run, index=w.index),
            "failed": lambda: codec.failed(w.id, w.run, "boom", index=w.index),
        }
        self.send(w, drafts[what](), fate)

    @rule(fate=FATES)
    def take_over(self, fate: str) -> None:
        state = self.full.state
        if state.phase is not Phase.OPEN or len(self.writers) > 8:
            return
        writer = Writer(f"w{len(self.writers)}", state.name, run=state.run, expected=self.tail)
        self.writers.append(writer)
        self.send(writer, codec.takeover(writer.id, state.run, lease_seconds=30.0), fate)

    @precondition(lambda self: self.late)
    @rule(n=st.integers(0, 5))
    def land(self, n: int) -> None:
        attempt = self.late.pop(n % len(self.late))
        self.append(attempt.draft, attempt.expected)

    # ------------------------------------------------------------------------------------------ everybody else

    @rule(what=st.sampled_from(["data"] * 9 + ["end", "failed", "reset", "start", "unknown"]))
    def plain_client(self, what: str) -> None:
        drafts = {
            "data": codec.data([Event(b"plain")]),
            "end": codec.end(None, None),
            "failed": codec.failed(None, None, "plain"),
            "reset": Draft(Kind.RESET, b"", {"Holdfast-Kind": "reset"}),
            "start": Draft(Kind.START, b"", {"Holdfast-Kind": "start"}),
            "unknown": Draft(Kind.UNKNOWN, b"x", {"Holdfast-Kind": "later"}),
        }
        self.store(drafts[what])

    @rule(pod=st.integers(0, 9), stale=st.booleans(), what=st.sampled_from(["lost", "failed", "idle"]))
    def pod_judges(self, pod: int, stale: bool, what: str) -> None:
        """A pod that reads from anywhere stores what its own fold says, by expected sequence."""
        reader = self.readers[pod % len(self.readers)]
        state = reader.state
        if state.phase is not Phase.OPEN or stale or not self.log:
            return  # a stale pod's append is refused: nothing happens
        if what == "lost" and not state.lost:
            self.store(codec.lost(state.run))
        elif what == "failed" and state.lost and self.log[-1].kind is Kind.LOST:
            self.store(codec.failed(None, state.run, "producer_lost"))
        elif what == "idle" and state.lease_seconds is None and not state.inferred:
            self.store(codec.failed(None, state.run, "idle"))

    @rule(n=st.integers(0, 8))
    def cancel(self, n: int) -> None:
        """Unconditional, and of any run there ever was, or none."""
        runs = [*self.runs, 10_000]
        self.store(codec.cancelled(runs[n % len(runs)]))

    @rule(name=st.sampled_from(NAMES))
    def cancel_by_name(self, name: str) -> None:
        self.store(codec.cancelled(name))

    @precondition(lambda self: not any(w.unsure for w in self.writers))
    @rule(n=st.integers(1, 3))
    def trim(self, n: int) -> None:
        """The broker forgets the oldest, never the last (renewals keep it), and nothing while an append is uncertain:
        a writer gives up long before (`Uncertain`)."""
        del self.log[: max(0, min(n, len(self.log) - 1))]

    @rule(purge=st.booleans(), really=RARELY)
    def erase(self, purge: bool, really: bool) -> None:
        if not really:
            return
        record = self.store(codec.erased())
        if purge:
            self.log = [record]

    # ------------------------------------------------------------------------------------- what must be true

    def judge(self, before: RunState, record: Record, told: list[Output]) -> None:
        """One record, as the reader of the whole log saw it."""
        state = self.full.state
        assert step(before, record) == (state, tuple(told)), "not a function"
        if before.phase is not Phase.OPEN and record.kind is Kind.CANCELLED:
            assert not told, "a cancel of what is not open told something"
        if record.kind is Kind.CANCELLED and self.open_run is not None:
            named = record.run == self.open_run or (record.run_name or "") == self.ever[self.open_run].run_name
            assert bool(told) == named, "a cancel closes the run it names, and only that"
        if before.phase is Phase.CLOSED and not before.inferred and before.closed_by is not Kind.END:
            assert not told or record.kind is Kind.START, "something but a start opened a run behind a failure"
        if before.phase is Phase.CLOSED and record.writer is not None and record.kind is not Kind.START:
            assert not told, "a fenced writer's record counted"
            assert (before.phase, before.run, before.closed_at) == (state.phase, state.run, state.closed_at)
        for output in told:
            assert self.open_run is not None or opens(output, record), f"{output} after the terminal"
            if isinstance(output, Event):
                if self.open_run is None:
                    self.opened(record.sequence)
                self.speaks(record, output)
            elif output.event == START:
                self.opened(record.sequence)
            elif output.event in CLOSING and self.open_run is not None:
                assert output.data["run"] == self.open_run
                self.runs[self.open_run].append(output.event)
                self.open_run = None
            else:
                bare = before.phase is Phase.NONE and record.kind in TERMINALS and record.run is None
                assert output.event != GAP or bare, "the whole log has no gap"
        assert (state.phase is Phase.OPEN) == (self.open_run is not None)
        if state.phase is Phase.OPEN:
            assert state.run == self.open_run

    def opened(self, run: int) -> None:
        assert self.open_run is None, "a run opened inside another"
        self.open_run = run
        self.runs[run] = []

    def speaks(self, record: Record, event: Event) -> None:
        assert self.open_run is not None
        if record.writer is not None:
            assert record.run == self.open_run, "data of another run"
            said = self.spoken.setdefault(self.open_run, [])
            if not said or said[-1] != record.writer:
                assert record.writer not in said, f"data of two holders interleave: {said}, {record.writer}"
                said.append(record.writer)
            self.stored.setdefault(record.writer, []).append(event.data)

    @invariant()
    def i3_every_run_ends_once(self) -> None:
        for run, terminals in self.runs.items():
            assert len(terminals) == (run != self.open_run), f"run {run}: {terminals}"

    @invariant()
    def i4_what_was_acknowledged_was_told_once_in_order(self) -> None:
        for w in self.writers:
            told = self.stored.get(w.id, [])
            if w.run and w.run in self.runs and self.runs[w.run] == [CANCELLED] and not told:
                continue  # cancelled by name before it started: nothing of it counts
            assert told[: len(w.acked)] == w.acked
            assert len(told) == len(set(told))

    @invariant()
    def i5_every_reader_tells_the_same_story(self) -> None:
        full = self.full
        for reader in self.readers[1:]:
            self.compare(reader, full)

    def compare(self, reader: Reader, full: Reader) -> None:
        """A reader of a suffix against the reader of everything."""
        theirs = [(at, o) for at, o in full.told if at > reader.after]
        ours = reader.told
        before = reader.at_start
        opening = before.phase is not Phase.OPEN
        if opening and not before.cancelled_names and before.closed_by in (None, Kind.END):
            # It begins where no run is open: from the next opening on the same story, to the letter.
            if theirs:
                assert [(at, o) for at, o in ours if at >= theirs[0][0]] == theirs
                assert same(reader.state) == same(full.state)
            return
        if before.cancelled_names:
            return  # cancelled ahead of a start that it sees without the cancel: see test_i6 below
        # Its first run's opening is trimmed. From the next explicit start on it is the same story.
        starts = [at for at, o in theirs if isinstance(o, Control) and o.event == START]
        if starts:
            first = starts[0]
            assert from_start(ours, first) == from_start(theirs, first)
        until = starts[0] if starts else self.sequence + 1
        mine = [(at, o) for at, o in ours if at < until]
        full_part = [(at, o) for at, o in theirs if at < until]
        # It misses nothing that is told: neither data nor an end by end, failed or erased.
        told = [o for _, o in mine]
        for at, output in full_part:
            if self.ever[at].kind is Kind.CANCELLED:
                continue
            if isinstance(output, Event):
                assert (at, output) in mine, "a suffix lost data"
            elif output.event in CLOSING:
                assert any(a == at and isinstance(o, Control) and o.event == output.event for a, o in mine)
        # What it tells of the trimmed run comes behind a gap.
        if before.phase is Phase.OPEN and before.writer is not None:
            gap = next((n for n, o in enumerate(told) if isinstance(o, Control) and o.event == GAP), len(told))
            for at, output in mine[:gap]:
                plain = self.ever[at].writer is None
                assert plain or (isinstance(output, Control) and output.event in CLOSING), "no gap before a trimmed run"


def same(state: RunState) -> RunState:
    """What readers of different suffixes agree on: not on what they guess, nor on cancels of runs they never saw."""
    return replace(state, inferred=False, cancelled_names=())


def opens(output: Output, record: Record) -> bool:
    """Whether this may be told while no run is open."""
    if isinstance(output, Event):
        return record.writer is None
    return output.event == START or record.kind is Kind.ERASED or record.writer is None


def from_start(told: list[tuple[int, Output]], first: int) -> list[tuple[int, Output]]:
    """From the session.start of this record on; what the record says of the run before is left out."""
    begun, out = False, []
    for at, output in told:
        begun = begun or (at == first and isinstance(output, Control) and output.event == START)
        if begun:
            out.append((at, output))
    return out


def test_i4_no_schedule_loses_what_was_acknowledged() -> None:
    """Random schedules of all who append and read, with every invariant of the machine after each step."""
    run_state_machine_as_test(Session, settings=settings(max_examples=300, stateful_step_count=40, deadline=None))
