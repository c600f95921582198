"""Schedules: the same seed gives the same steps, and every step is one that the harness can carry out."""

from __future__ import annotations

import inspect

import pytest
from bench.faults.deeds import Deeds
from bench.faults.schedule import FAULTS, GATEWAYS, LINK_MODES, Schedule, schedule

STREAMS = 3
SEEDS = range(60)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_seed_gives_one_schedule_and_seeds_differ(fault: str) -> None:
    assert schedule(fault, 7, 0, STREAMS) == schedule(fault, 7, 0, STREAMS)
    drawn = {schedule(fault, seed, run, STREAMS) for seed in SEEDS for run in (0, 1)}
    assert len(drawn) == 2 * len(SEEDS)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_steps_are_in_order_known_and_aimed_at_what_there_is(fault: str) -> None:
    known = inspect.getsource(Deeds)
    for seed in SEEDS:
        plan = schedule(fault, seed, 0, STREAMS)
        times = [step.at_seconds for step in plan.steps]
        assert times == sorted(times)
        assert plan.steps
        for step in plan.steps:
            assert f'"{step.action}"' in known
            assert step.target in range(_most(plan, step.action))


def _most(plan: Schedule, action: str) -> int:
    if "producer" in action or action in ("take over", "await lost"):
        return len(plan.writers)
    if "viewers" in action:
        return len(plan.watchers)
    return GATEWAYS if action in ("link", "kill gateway", "start gateway") else STREAMS


def test_what_is_broken_is_mended_within_the_schedule() -> None:
    for seed in SEEDS:
        for fault, breaking, mending in (
            ("leader-kill", "kill leader", "start node"),
            ("planned-change", "lame duck", "start node"),
            ("gateway-kill", "kill gateway", "start gateway"),
        ):
            actions = [step.action for step in schedule(fault, seed, 0, STREAMS).steps]
            assert actions.count(breaking) == actions.count(mending) >= 1
        link = schedule("link-cut", seed, 0, STREAMS).steps
        assert (link[0].mode in LINK_MODES, link[-1].mode, link[0].target) == (True, "heal", link[-1].target)


def test_every_kind_of_link_fault_and_both_kinds_of_gateway_fault_are_drawn() -> None:
    assert {schedule("link-cut", seed, 0, STREAMS).steps[0].mode for seed in SEEDS} == set(LINK_MODES)
    assert {len(schedule("gateway-kill", seed, 0, STREAMS).steps) for seed in SEEDS} == {2, 4}


def test_every_schedule_has_steady_viewers_to_time_and_a_producer_that_lives() -> None:
    for fault in FAULTS:
        plan = schedule(fault, 1, 0, STREAMS)
        touched = {step.target for step in plan.steps if "producer" in step.action}
        assert any(watchers.role == "steady" for watchers in plan.watchers)
        assert set(range(len(plan.writers))) - touched


def test_a_woken_writer_was_closed_first() -> None:
    for seed in SEEDS:
        seen: list[tuple[str, int]] = []
        for step in schedule("dead-producer", seed, 0, STREAMS).steps:
            if step.action == "continue producer":
                assert ("stop producer", step.target) in seen
                assert ("take over", step.target) in seen or ("await lost", step.target) in seen
            seen.append((step.action, step.target))
