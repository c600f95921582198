"""Cells a, b, c, d and g: viewers that follow live sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.live import Load, measure, started
from bench.peers.base import System
from bench.placement import Placement
from bench.publish.schedule import Plan
from bench.results import Row, kept_up

_DESCENT = 5


def cell_a(system: type[System], placement: Placement, viewers: int, seconds: float = 4.0) -> Row:
    """One session, many viewers, 50 events a second of 256 bytes."""
    load = Load(_plan(1, 50, seconds), viewers)
    with started(system, placement) as running:
        return measure("a", f"{viewers} viewers", running, placement, load)


def cell_b(system: type[System], placement: Placement, start_rate: float, seconds: float = 4.0) -> Iterator[Row]:
    """One session, 1,000 viewers: the rate goes up until the system does not hold it, and one step beyond."""
    with started(system, placement) as running:
        yield from _ladder(
            lambda rate: measure(
                "b", f"1000 viewers, {rate:.0f} ev/s", running, placement, Load(_plan(1, rate, seconds), 1000)
            ),
            start_rate,
            step=1.5,
        )


def cell_c(
    system: type[System], placement: Placement, seconds: float = 4.0, *, ladder: bool = True, lowest: float = 1.0
) -> Iterator[Row]:
    """1,000 sessions with one viewer each: 20 events a second, then the highest rate kept up."""
    with started(system, placement) as running:

        def at(rate: float) -> Row:
            variant = f"1000 sessions, {rate:.3g} ev/s each"
            return measure("c", variant, running, placement, Load(_plan(1000, rate, seconds), 1000))

        row = at(20)
        yield row
        if not ladder:
            return
        if kept_up(row):
            yield from _ladder(at, 25, step=1.25)
            return
        rate = 20.0
        for _ in range(_DESCENT):
            # What it managed under overload tells where to look next.
            achieved = (row.events_per_second or 0) / 1000
            rate = min(rate / 1.25, max(achieved, lowest))
            row = at(rate)
            yield row
            if kept_up(row):
                return


def cell_d(system: type[System], placement: Placement, seconds: float = 4.0) -> Row:
    """100 sessions with ten viewers each, 50 events a second."""
    with started(system, placement) as running:
        return measure("d", "100 sessions x 10 viewers", running, placement, Load(_plan(100, 50, seconds), 1000))


def cell_g(
    system: type[System], placement: Placement, rate: float, pairs: int = 5, seconds: float = 3.0
) -> Iterator[Row]:
    """1,000 viewers with and without one that stopped reading, interleaved; one system for all pairs."""
    load = Plan(1, rate, int(rate * seconds), payload_bytes=1024)
    with started(system, placement) as running:
        for pair in range(pairs):
            for stalled in (0, 1):
                name = f"{rate:.0f} ev/s x 1 KiB, {'one stalled' if stalled else 'none stalled'}, pair {pair + 1}"
                yield measure("g", name, running, placement, Load(load, 1000, stalled=stalled, warm_seconds=0.5))


def _plan(sessions: int, rate: float, seconds: float) -> Plan:
    return Plan(sessions, rate, max(2, int(rate * seconds)))


def _ladder(at: Callable[[float], Row], rate: float, step: float, most: int = 12) -> Iterator[Row]:
    for _ in range(most):
        row = at(rate)
        yield row
        if not kept_up(row):
            return
        rate *= step
