"""The delivery invariants under their numbers; the machines they run stand beside this file."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.runtime.test_exactness_machine import Exactness


def test_i9_each_viewer_sees_every_event_once_or_is_told_of_a_gap() -> None:
    """A few random schedules of the exactness machine: clients read bytes, and are held against the log's own fold."""
    run_state_machine_as_test(
        Exactness,
        settings=settings(
            max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
