"""States by place."""

from __future__ import annotations

from dataclasses import replace

from holdfast.wire import NEW, Phase
from holdfast_gateway.core.history import StateHistory


def test_a_state_holds_behind_its_record() -> None:
    history = StateHistory()
    first, second = replace(NEW, run=1), replace(NEW, run=2)
    history.note(10, first)
    history.note(20, second)
    assert [history.before(s) for s in (1, 10, 11, 20, 21, 99)] == [NEW, NEW, first, first, second, second]


def test_the_oldest_half_is_forgotten_and_said_so() -> None:
    history = StateHistory(max_changes=4)
    for n in range(1, 6):
        history.note(n * 10, replace(NEW, run=n))
    assert history.before(10) is None
    assert history.before(31) == replace(NEW, run=3)
    assert history.before(51) == replace(NEW, run=5)


def test_runs_are_known_by_number_and_name() -> None:
    history = StateHistory()
    history.note(10, replace(NEW, phase=Phase.OPEN, run=10, name="answer"))
    assert [history.knows_run(r) for r in (10, 11, "answer", "other")] == [True, False, True, False]
