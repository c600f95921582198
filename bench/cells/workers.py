"""Cell w: one process against two on the machine's cores, load client and producer beside them.

There is no core left for the load here, so this shows what a bare machine gains, not what a worker can do.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.live import Load, measure, started
from bench.peers.holdfast import Holdfast, HoldfastTwoWorkers
from bench.placement import Placement
from bench.publish.schedule import Plan
from bench.results import Row

_VIEWERS = 5000
_RATES = (50.0, 100.0, 150.0)


def cell_w(placement: Placement) -> Iterator[Row]:
    """One session, 5,000 viewers, three rates; every part may run on every core."""
    cores = placement.system | placement.load
    shared = Placement("all cores", cores, cores, cores)
    for rate in _RATES:
        for system in (Holdfast, HoldfastTwoWorkers):
            with started(system, shared) as running:
                load = Load(Plan(1, rate, int(rate * 3)), _VIEWERS)
                yield measure("w", f"{_VIEWERS} viewers, {rate:.0f} ev/s", running, shared, load)
