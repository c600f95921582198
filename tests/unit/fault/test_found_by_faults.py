"""Defects that the fault runs found, each with the test that would have found it sooner."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.wire import Phase, RunState
from holdfast_gateway.core.judge import Judge, Probe, Rule, Step, StoreFailed, StoreLost

LEASE, GRACE = 3.0, 12.0


@pytest.mark.parametrize("answer", [Judge.refused, Judge.stored])
@pytest.mark.parametrize("feed_first", [True, False])
def test_an_answer_that_comes_after_the_lost_record_does_not_hold_up_the_grace(
    answer: Callable[[Judge, float], None], feed_first: bool
) -> None:
    """Two pods stored `lost` at once; the one that was refused after its feed had told began its grace 5 s late."""
    judge = Judge(Rule(grace_seconds=GRACE), 0.0)
    state = RunState(phase=Phase.OPEN, run=5, writer="w", lease_seconds=LEASE)
    judge.saw(7, 0.0)
    now, step = 0.0, None
    while step is None:
        now += 0.25
        step = judge.tick(now, state, None, True)
    assert step == StoreLost(5, 7)
    inputs = [lambda: judge.saw(8, now), lambda: answer(judge, now)]
    for happens in inputs if feed_first else reversed(inputs):
        happens()
    told, closing = now, _until_closing(judge, RunState(Phase.OPEN, 5, "w", lease_seconds=LEASE, lost=True), now)
    assert closing[0] == StoreFailed(5, "producer_lost", 8)
    assert closing[1] - told < GRACE + 2.0


def _until_closing(judge: Judge, lost: RunState, now: float) -> tuple[Step, float]:
    """Tick four times a second, every probe answered well at once, until the run is to be closed."""
    while True:
        now += 0.25
        step = judge.tick(now, lost, None, True)
        if isinstance(step, Probe):
            judge.probed(True, judge.tail, now)
        elif step is not None:
            return step, now
