"""The dead-producer rule, clause by clause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.wire import NEW, Phase, RunState
from holdfast_gateway.core.judge import Judge, Probe, Rule, StoreFailed, StoreLost

RULE = Rule(hint_lost_seconds=6, grace_seconds=20, idle_seconds=600)
OPEN = RunState(phase=Phase.OPEN, run=5, writer="w", lease_seconds=30.0)
LOST = replace(OPEN, lost=True)
PLAIN = replace(OPEN, writer=None, lease_seconds=None)


class Bench:
    """A judge and its clock."""

    def __init__(self, state: RunState, tail: int = 9, rule: Rule = RULE) -> None:
        self.now = 100.0
        self.state = state
        self.judge = Judge(rule, self.now)
        self.judge.saw(tail, self.now)
        self.steps: list[tuple[float, object]] = []
        self.probe_ok = True

    def pass_seconds(self, seconds: int, *, hint: float | None = None, looked_at: bool = True) -> None:
        for _ in range(seconds):
            self.now += 1
            step = self.judge.tick(self.now, self.state, hint, looked_at)
            if isinstance(step, Probe):
                self.judge.probed(self.probe_ok, self.judge.tail, self.now)
            elif step is not None:
                self.steps.append((self.now - 100, step))


def test_j1_silence_is_counted_from_the_tail_and_anew_after_trouble() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(20)
    bench.judge.trouble(bench.now)
    bench.pass_seconds(29)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert bench.steps == [(50.0, StoreLost(5, 9))]


def test_j1_at_first_look_the_time_stamp_counts() -> None:
    bench = Bench(OPEN)
    bench.judge.first_look(31.0, bench.now)
    bench.pass_seconds(1)
    assert bench.steps == [(1.0, StoreLost(5, 9))]


def test_j1_a_time_stamp_younger_than_what_was_seen_changes_nothing() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(10)
    bench.judge.first_look(-5.0, bench.now)
    bench.pass_seconds(20)
    assert bench.steps == [(30.0, StoreLost(5, 9))]


def test_j2_a_lost_hint_shortens_the_lease_and_a_fresh_one_does_not() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(10, hint=5.9)
    assert bench.steps == []
    bench.pass_seconds(1, hint=6.1)
    assert bench.steps == [(11.0, StoreLost(5, 9))]


def test_j2_a_hint_alone_is_nothing_while_the_log_grows() -> None:
    bench = Bench(OPEN)
    for tail in range(10, 40):
        bench.pass_seconds(3, hint=99.0)
        bench.judge.saw(tail, bench.now)
    assert bench.steps == []


def test_j3_the_run_is_closed_after_the_grace() -> None:
    bench = Bench(LOST)
    bench.pass_seconds(21)
    assert bench.steps == [(21.0, StoreFailed(5, "producer_lost", 9))]


def test_j3_a_probe_that_fails_starts_the_grace_anew() -> None:
    bench = Bench(LOST)
    bench.pass_seconds(15)
    bench.probe_ok = False
    bench.pass_seconds(1)
    bench.probe_ok = True
    bench.pass_seconds(20)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert len(bench.steps) == 1


def test_j3_seconds_without_a_proof_do_not_count() -> None:
    bench = Bench(LOST)
    bench.pass_seconds(10)
    bench.now += 3
    bench.pass_seconds(20)
    assert bench.steps == []


def test_j3_anything_new_starts_the_grace_anew() -> None:
    bench = Bench(LOST)
    bench.pass_seconds(19)
    bench.judge.saw(11, bench.now)
    bench.pass_seconds(20)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert bench.steps == [(40.0, StoreFailed(5, "producer_lost", 11))]


def test_j3_a_proof_for_an_older_tail_proves_nothing() -> None:
    judge = Judge(RULE, 0.0)
    judge.saw(9, 0.0)
    assert judge.tick(1.0, LOST, None, True) == Probe()
    judge.saw(11, 1.0)
    judge.probed(True, 9, 1.5)
    assert judge._grace_since is None


def test_j3_probes_are_a_second_apart() -> None:
    judge = Judge(RULE, 0.0)
    judge.saw(9, 0.0)
    asked = 0
    for quarter in range(1, 41):
        if isinstance(judge.tick(quarter / 4, LOST, None, True), Probe):
            asked += 1
            judge.probed(True, 9, quarter / 4)
    assert asked == 10


def test_j4_a_run_without_a_lease_is_closed_by_the_idle_limit_alone() -> None:
    bench = Bench(PLAIN)
    bench.pass_seconds(599, hint=400.0)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert bench.steps == [(600.0, StoreFailed(5, "idle", 9))]


def test_j4_time_stamps_alone_need_the_grace_too() -> None:
    bench = Bench(PLAIN)
    bench.judge.first_look(10_000.0, bench.now)
    bench.pass_seconds(20)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert bench.steps == [(21.0, StoreFailed(5, "idle", 9))]


def test_j4_zero_is_never() -> None:
    bench = Bench(PLAIN, rule=replace(RULE, idle_seconds=0))
    bench.pass_seconds(5000)
    assert bench.steps == []


def test_j5_a_pod_that_did_not_run_has_heard_nothing() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(20)
    bench.now += 60
    bench.pass_seconds(30)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert len(bench.steps) == 1


@pytest.mark.parametrize("state", [NEW, replace(OPEN, phase=Phase.CLOSED)])
def test_nothing_to_judge_without_an_open_run(state: RunState) -> None:
    bench = Bench(state)
    bench.pass_seconds(1000)
    assert bench.steps == []


def test_nobody_looks_nobody_judges() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(300, looked_at=False)
    assert bench.steps == []
    bench.pass_seconds(1)
    assert len(bench.steps) == 1, "the clock went on meanwhile"


def test_one_question_at_a_time_and_answers_start_what_they_should() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(40)
    assert len(bench.steps) == 1, "asked once, not every second"
    bench.judge.stored(bench.now)
    bench.pass_seconds(4)
    assert len(bench.steps) == 1, "its record is on the way"
    bench.pass_seconds(2)
    assert len(bench.steps) == 2, "it did not come: look again"
    bench.judge.refused(bench.now)
    bench.pass_seconds(29)
    assert len(bench.steps) == 2, "somebody wrote: the clock starts again"
    bench.pass_seconds(1)
    assert len(bench.steps) == 3
    bench.judge.unsettled(bench.now)
    bench.pass_seconds(29)
    assert len(bench.steps) == 3
    bench.pass_seconds(1)
    assert len(bench.steps) == 4


def test_j6_an_answer_behind_the_feed_holds_nothing_up() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(30)
    bench.judge.saw(11, bench.now)
    bench.judge.stored(bench.now)
    bench.state = LOST
    bench.pass_seconds(21)
    assert bench.steps[1:] == [(51.0, StoreFailed(5, "producer_lost", 11))]


def test_j6_a_refusal_behind_the_feed_restarts_nothing() -> None:
    bench = Bench(OPEN)
    bench.pass_seconds(30)
    bench.judge.saw(11, bench.now)
    bench.pass_seconds(10)
    bench.judge.refused(bench.now)
    bench.pass_seconds(20)
    assert bench.steps[1:] == [(60.0, StoreLost(5, 11))]
