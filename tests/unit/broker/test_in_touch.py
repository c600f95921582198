"""Whose word on a stream's last sequence is taken."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast_gateway.broker.jetstream.directget import in_touch

SECOND = 1_000_000_000


def peer(seconds: float, **more: Any) -> dict[str, Any]:
    return {"name": "n2", "current": True, "active": int(seconds * SECOND), **more}


@pytest.mark.parametrize(
    ("cluster", "taken"),
    [
        (None, True),
        ({"leader": "n1"}, True),
        ({"leader": "n1", "replicas": [peer(0.2), peer(0.9)]}, True),
        ({"leader": "n1", "replicas": [peer(0.2), peer(60, offline=True)]}, True),
        ({"leader": "n1", "replicas": [peer(3.5), peer(60)]}, False),
        ({"leader": "n1", "replicas": [peer(0.1, offline=True), peer(60)]}, False),
        ({"leader": "n1", "replicas": [peer(1), peer(1), peer(9), peer(9)]}, True),
        ({"leader": "n1", "replicas": [peer(1), peer(9), peer(9), peer(9)]}, False),
        ({"replicas": [peer(0.2), peer(0.2)]}, False),
        ({"leader": "", "replicas": []}, False),
        ({"leader": None}, False),
    ],
)
def test_only_a_leader_in_touch_with_its_majority(cluster: Any, taken: bool) -> None:
    """A follower that is cut off answers without a leader; a leader that is cut off hears nobody."""
    assert in_touch(cluster) is taken
