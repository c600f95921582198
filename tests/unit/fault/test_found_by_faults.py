"""Defects that the fault runs found, each with the test that would have found it sooner."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.wire import Phase, RunState
from holdfast_gateway.broker.jetstream.streams import NotServable, patiently
from holdfast_gateway.core.judge import Judge, Probe, Rule, Step, StoreFailed, StoreLost
from holdfast_gateway.ports import SourceUnavailable

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


class Silent:
    """A cluster that says nothing at first, then answers; or an operator's mistake."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "streams"


async def test_a_gateway_started_during_an_election_waits_for_it() -> None:
    """A pod that came back while the cluster had no meta leader gave up after one unanswered request."""
    cluster = Silent(SourceUnavailable("no answer"), SourceUnavailable("no answer"))
    assert await patiently(cluster.ask, 60.0, pause_seconds=0.0) == "streams"
    assert cluster.asked == 3


async def test_a_silent_cluster_is_given_up_and_a_wrong_one_at_once() -> None:
    silent = Silent(SourceUnavailable("no answer"), SourceUnavailable("still none"))
    with pytest.raises(SourceUnavailable, match="no answer"):
        await patiently(silent.ask, 0.0)
    wrong = Silent(NotServable("there are no streams"))
    with pytest.raises(NotServable):
        await patiently(wrong.ask, 60.0)
    assert (silent.asked, wrong.asked) == (1, 1)
