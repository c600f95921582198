"""Percentiles: within a bucket's width of the sorted list's own, and added rather than averaged."""

from __future__ import annotations

import math

import pytest
from bench.histogram import Histogram, bucket, middle_us
from hypothesis import given
from hypothesis import strategies as st

_VALUES = st.lists(st.integers(0, 10**8), min_size=1, max_size=300)


@given(st.integers(0, 10**10))
def test_a_buckets_middle_is_within_a_percent_of_its_values(us: int) -> None:
    """The figure a bucket stands for is never further off than its width."""
    assert abs(middle_us(bucket(us)) - us) <= max(us * 0.01, 0.5)


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_buckets_keep_the_order_of_values(a: int, b: int) -> None:
    """A larger value is never in a lower bucket."""
    assert (bucket(a) <= bucket(b)) == (a <= b) or bucket(a) == bucket(b)


@given(_VALUES, st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_percentiles_agree_with_the_sorted_list(values: list[int], share: float) -> None:
    """Nearest rank, as the sorted list gives it."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert histogram.percentile_ms(share) == pytest.approx(exact / 1000, rel=0.01, abs=0.001)


@given(_VALUES, _VALUES)
def test_added_histograms_are_the_histogram_of_all_values(one: list[int], other: list[int]) -> None:
    """Runs are joined by their counts."""
    both, first, second = Histogram(), Histogram(), Histogram()
    for value in one:
        first.record(value)
    for value in other:
        second.record(value)
    for value in one + other:
        both.record(value)
    first.add(second)
    assert (len(first), first.summary()) == (len(both), both.summary())


def test_nothing_counted_has_no_latency() -> None:
    """An empty run is not a run with a latency of zero."""
    assert Histogram().summary() == {"p50_ms": None, "p90_ms": None, "p99_ms": None, "p999_ms": None}


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    """99 instead of 0.99 is a mistake, not a percentile."""
    with pytest.raises(ValueError):
        Histogram([(1, 1)]).percentile_ms(share)
