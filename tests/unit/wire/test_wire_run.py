"""The run's fold over any log at all: also what no writer, pod or client of ours would ever store."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.wire import NEW, Control, Event, Kind, Output, Phase, Record, RunState, fold, step
from holdfast.wire.run import CANCELLED, END, FAILED, GAP, PRODUCER, START, ends_run, fences

CLOSING = {END, FAILED, CANCELLED}


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Records with any kind, writer, run and name, in order of their sequences."""
    sequence, log = 0, []
    for _ in range(draw(st.integers(0, 14))):
        sequence += draw(st.integers(1, 2))
        kind = draw(st.sampled_from(Kind))
        log.append(
            Record(
                sequence,
                kind,
                (Event(b"x"),) * draw(st.integers(1, 2)) if kind is Kind.DATA else (),
                draw(st.sampled_from([None, "v", "w"])),
                run=draw(st.none() | st.integers(0, sequence + 1)),
                run_name=draw(st.sampled_from([None, "q", "r"])),
                lease_seconds=draw(st.sampled_from([None, 30.0])),
            )
        )
    return log


def story(log: list[Record], state: RunState = NEW) -> list[tuple[RunState, tuple[Output, ...]]]:
    out = []
    for record in log:
        state, told = step(state, record)
        out.append((state, told))
    return out


@settings(max_examples=400)
@given(logs())
def test_i3_any_log_tells_one_terminal_a_run(log: list[Record]) -> None:
    """Whatever is stored: no run is told two ends, none opens inside another, and the state says what was told."""
    open_run, ended = False, set()
    for state, told in story(log):
        for output in told:
            if isinstance(output, Event):
                open_run = True
            elif output.event == START:
                assert not open_run
                open_run = True
            elif output.event in CLOSING:
                run = output.data["run"]
                assert run == 0 or run not in ended
                ended.add(run)
                open_run = False
            elif output.event in (GAP, PRODUCER):
                assert not output.counted
                open_run = open_run or state.phase is Phase.OPEN
        assert open_run == (state.phase is Phase.OPEN)
        assert state.status in {"none", "open", "lost", "ended", "failed", "cancelled", "erased"}
        assert state.lost <= (state.phase is Phase.OPEN)
        assert (state.closed_by is not None) == (state.phase is Phase.CLOSED)


@given(logs(), st.integers(0, 14))
def test_i5_a_state_is_as_good_as_the_log_it_came_from(log: list[Record], cut: int) -> None:
    """Folding on from a kept state is folding from the beginning."""
    half = fold(log[:cut])
    assert fold(log[cut:], half) == fold(log)
    assert story(log)[cut:] == story(log[cut:], half)


@given(logs())
def test_a_void_record_changes_nothing_that_is_told_later(log: list[Record]) -> None:
    """Unknown kinds and markers may be stored anywhere without a trace."""
    known = [record for record in log if record.kind is not Kind.UNKNOWN]
    assert [told for _, told in story(known)] == [
        told for (_, told), record in zip(story(log), log, strict=True) if record.kind is not Kind.UNKNOWN
    ]


def record(kind: Kind, sequence: int = 9, **fields: object) -> Record:
    return Record(sequence, kind, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "fenced"),
    [
        (record(Kind.START, writer="v"), True),
        (record(Kind.START), True),
        (record(Kind.START, writer="w"), True),
        (record(Kind.START, 5, writer="w"), False),
        (record(Kind.TAKEOVER, writer="v", run=5), True),
        (record(Kind.TAKEOVER, writer="w", run=5), False),
        (record(Kind.TAKEOVER, writer="v", run=4), False),
        (record(Kind.TAKEOVER, run=5), False),
        (record(Kind.CANCELLED, run=5), True),
        (record(Kind.CANCELLED, run=4), False),
        (record(Kind.CANCELLED, run_name="q"), True),
        (record(Kind.CANCELLED, run_name="r"), False),
        (record(Kind.FAILED, run=5), True),
        (record(Kind.FAILED, run=4), False),
        (record(Kind.END), True),
        (record(Kind.END, writer="v", run=5), False),
        (record(Kind.ERASED), True),
        (record(Kind.DATA), False),
        (record(Kind.LOST, run=5), False),
        (record(Kind.RESET), False),
        (record(Kind.UNKNOWN), False),
    ],
)
def test_what_fences_the_holder(what: Record, fenced: bool) -> None:
    """A writer stops exactly where the fold takes the run from it, and reads past all else."""
    assert fences(what, "w", 5, "q") is fenced


def test_a_start_whose_place_is_not_known_yet_is_its_own() -> None:
    """A writer that settles its own start is not fenced by it, whoever else is."""
    assert not fences(record(Kind.START, writer="w"), "w", 0)
    assert fences(record(Kind.START, writer="v"), "w", 0)


def test_what_ends_a_run() -> None:
    """Terminals that name it or nothing, and another run's start."""
    assert ends_run(record(Kind.END, run=5), 5)
    assert ends_run(record(Kind.START, writer="v"), 5)
    assert ends_run(record(Kind.CANCELLED, run_name="q"), 5, "q")
    assert not ends_run(record(Kind.CANCELLED, run=4), 5)
    assert not ends_run(record(Kind.DATA), 5)


def test_renewals_do_not_grow_a_readers_memory() -> None:
    """`alive` with nothing new leaves the very same state, so that nobody keeps one more of it."""
    state = fold([record(Kind.START, 5, writer="w", lease_seconds=30.0)])
    assert step(state, record(Kind.ALIVE, 6, writer="w", run=5, lease_seconds=30.0))[0] is state


@pytest.mark.parametrize("written", [b"", b"\x00"])
def test_status_words(written: bytes) -> None:
    """One word for people: what an API says of a session."""
    states = story(
        [
            record(Kind.DATA, 1, events=(Event(written),)),
            record(Kind.LOST, 2, run=1),
            record(Kind.DATA, 3, events=(Event(written),)),
            record(Kind.END, 4),
            record(Kind.ERASED, 5),
        ]
    )
    assert [state.status for state, _ in states] == ["open", "lost", "open", "ended", "erased"]
    assert isinstance(states[2][1][0], Control)
