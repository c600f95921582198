"""The schedule: every event due once, in order, staggered over the sessions."""

from __future__ import annotations

from bench.live import Load
from bench.publish.http import request
from bench.publish.schedule import Plan
from hypothesis import given
from hypothesis import strategies as st

_PLANS = st.builds(Plan, st.integers(1, 50), st.floats(0.5, 500), st.integers(1, 200))


@given(_PLANS, st.lists(st.floats(-1, 500), max_size=20))
def test_what_is_due_only_grows_and_ends_at_the_total(plan: Plan, times: list[float]) -> None:
    """No event is due twice, none before the start, all by the end."""
    due = [plan.due(at) for at in sorted(times)]
    assert due == sorted(due)
    assert all(0 <= count <= plan.total for count in due)
    assert plan.due(-0.001) == 0
    assert plan.due(plan.seconds + 1) == plan.total


@given(_PLANS)
def test_the_rate_is_held_to_within_one_event(plan: Plan) -> None:
    """Half way through, half of the events are due."""
    assert abs(plan.due(plan.seconds / 2) - plan.total / 2) <= 1


@given(_PLANS)
def test_a_plan_survives_its_way_to_the_publisher(plan: Plan) -> None:
    """What the harness sends is what the publisher runs."""
    assert Plan.from_json(plan.to_json()) == plan


def test_a_stalled_viewer_is_not_waited_for() -> None:
    """Deliveries are due to those who read."""
    plan = Plan(sessions=1, rate=50, events=100)
    assert Load(plan, viewers=1000).due == 100_000
    assert Load(plan, viewers=1000, stalled=1).due == 99_900
    assert Load(Plan(100, 50, 10), viewers=1000).due == 10_000


def test_a_request_says_its_length() -> None:
    """Head and body are complete in one write."""
    assert request("POST", "/pub/3", b"abc", "A: b") == (
        b"POST /pub/3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nA: b\r\n\r\nabc"
    )
