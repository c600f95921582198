"""Latency histograms as the load client sends them: logarithmic buckets, at most 0.8 % wide.

Percentiles of several runs come from the added histograms, never from averaged percentiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

_SUB_BITS = 7
_SUB = 1 << _SUB_BITS


def bucket(us: int) -> int:
    """Return the bucket of a value in microseconds; below 128 each value has its own."""
    if us < _SUB:
        return max(us, 0)
    shift = us.bit_length() - 1 - _SUB_BITS
    return (shift + 1) * _SUB + (us >> shift) - _SUB


def middle_us(index: int) -> float:
    """Return the middle of a bucket, in microseconds."""
    if index < _SUB:
        return float(index)
    shift = index // _SUB - 1
    low = (_SUB + index % _SUB) << shift
    return low + ((1 << shift) - 1) / 2


class Percentiles(TypedDict):
    """Latencies in milliseconds; None where nothing was counted."""

    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


class Histogram:
    """Counts by bucket."""

    __slots__ = ("_counts",)

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        """Start from ``(bucket, count)`` pairs."""
        self._counts: dict[int, int] = {}
        for index, count in pairs:
            self._counts[index] = self._counts.get(index, 0) + count

    def record(self, us: int) -> None:
        """Count one value in microseconds."""
        index = bucket(us)
        self._counts[index] = self._counts.get(index, 0) + 1

    def add(self, other: Histogram) -> None:
        """Add another histogram's counts to this one."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count

    def __len__(self) -> int:
        """Return how many values were counted."""
        return sum(self._counts.values())

    def percentile_ms(self, share: float) -> float | None:
        """Return the smallest value that at least ``share`` of all are not above, in milliseconds.

        Returns:
            None when nothing was counted: no latency is not a latency of zero.

        Raises:
            ValueError: ``share`` is not within (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"a share is within (0, 1], not {share}")
        total = len(self)
        if total == 0:
            return None
        seen = 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= share * total:
                return middle_us(index) / 1000
        raise AssertionError("the counts do not add up")

    def summary(self) -> Percentiles:
        """Return p50, p90, p99 and p99.9."""
        p50, p90, p99, p999 = (_rounded(self.percentile_ms(share)) for share in (0.5, 0.9, 0.99, 0.999))
        return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p999_ms": p999}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
