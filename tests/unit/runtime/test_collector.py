"""The gateway's process looks for circular garbage seldom, and never at what it loaded at its start."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from holdfast_gateway.commands import COLLECT_AFTER, collect_rarely


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as this process has it, afterwards again."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_the_collector_leaves_the_loaded_program_alone_and_still_runs() -> None:
    """Objects of the start are frozen; circles made later are still found."""
    collect_rarely()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == COLLECT_AFTER
    before = gc.get_stats()[0]["collections"]
    circles = []
    for _ in range(COLLECT_AFTER + 1):
        circle: list[object] = []
        circle.append(circle)
        circles.append(circle)
    assert gc.get_stats()[0]["collections"] > before
