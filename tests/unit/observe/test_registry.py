"""Metrics: named once, and written so that Prometheus reads them."""

from __future__ import annotations

import re

import pytest

from holdfast_gateway.observe import metrics
from holdfast_gateway.observe.metrics import Metric, MetricKind, Silent
from holdfast_gateway.observe.registry import Registry

ALL = [value for value in vars(metrics).values() if isinstance(value, Metric)]


def test_every_metric_is_named_once_and_well() -> None:
    names = [m.full_name for m in ALL]
    assert len(set(names)) == len(names) > 15
    for m in ALL:
        assert re.fullmatch(r"holdfast_[a-z_]+", m.full_name)
        assert m.full_name.endswith("_total") == (m.kind is MetricKind.COUNTER)
        assert m.help.endswith(".")
        assert "\n" not in m.help


def test_the_exposition_is_sorted_and_typed() -> None:
    registry = Registry()
    registry.count(metrics.PROBLEMS, 1, ("not-found",))
    registry.count(metrics.PROBLEMS, 2, ("not-found",))
    registry.set(metrics.READY, 1)
    assert registry.exposition() == (
        "# HELP holdfast_problems_total Requests answered with a problem, by its slug.\n"
        "# TYPE holdfast_problems_total counter\n"
        'holdfast_problems_total{problem="not-found"} 3\n'
        "# HELP holdfast_ready 1 while the broker answers and the gateway is not draining.\n"
        "# TYPE holdfast_ready gauge\n"
        "holdfast_ready 1\n"
    )


def test_label_values_cannot_break_out() -> None:
    registry = Registry()
    registry.count(metrics.BUILD, 1, ('a"b\\c\nd',))
    assert 'version="a\\"b\\\\c\\nd"' in registry.exposition()


def test_sources_are_asked_each_time() -> None:
    registry = Registry()
    value = [0.0]
    registry.collect(lambda: [(metrics.VIEWERS, value[0], ())])
    for value[0] in (1.0, 2.5):
        assert f"holdfast_viewers {value[0]:g}\n" in registry.exposition()


def test_a_label_that_is_missing_is_a_fault() -> None:
    registry = Registry()
    registry.count(metrics.PROBLEMS, 1)
    with pytest.raises(ValueError, match="zip"):
        registry.exposition()


def test_the_silent_meter_takes_everything() -> None:
    Silent().count(metrics.PROBLEMS, 1, ("x",))
    Silent().set(metrics.READY, 1)
