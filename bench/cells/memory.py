"""Cell e and the churn run: what a viewer costs while nothing happens, and what stays after it has left."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.live import Publisher, started
from bench.loadclient import LoadClient
from bench.peers.base import System
from bench.placement import Placement
from bench.process import BenchError, Child, Usage
from bench.publish.schedule import Plan
from bench.results import Row

_SETTLE_SECONDS = 2.0
_SESSIONS = 100


def cell_e(system: type[System], placement: Placement, viewers: int = 10_000) -> Row:
    """Idle viewers on 100 open sessions: resident memory each costs, by part, and what remains once they left."""
    with started(system, placement) as running:
        names = [child.name for child in running.children]
        publisher = Publisher(running, placement, Plan(_SESSIONS, 1, 1))
        try:
            time.sleep(_SETTLE_SECONDS / 2)
            before = _usage(running.children)
            client = LoadClient.start(
                running.viewers(), placement.load, "idle", connections=viewers, sessions=_SESSIONS, first=running.first
            )
            try:
                client.wait_ready()
                time.sleep(_SETTLE_SECONDS)
                held = _usage(running.children)
                time.sleep(_SETTLE_SECONDS)
                later = _usage(running.children)
                seen = client.finish(10, wait=False)
            finally:
                client.child.stop()
            if seen.closed:
                raise BenchError(f"{running.name} closed {seen.closed} idle viewers")
            time.sleep(_SETTLE_SECONDS)
            left = _usage(running.children)
        finally:
            publisher.close()
    per_viewer = {
        n: round((b.rss_bytes - a.rss_bytes) / viewers / 1024, 2) for n, a, b in zip(names, before, held, strict=True)
    }
    return Row(
        "e",
        f"{viewers} idle viewers",
        system.name,
        placement.name,
        cpu={
            n: round((b.cpu_seconds - a.cpu_seconds) / _SETTLE_SECONDS, 3)
            for n, a, b in zip(names, held, later, strict=True)
        },
        rss_mib={n: round(u.rss_bytes / 2**20, 1) for n, u in zip(names, held, strict=True)},
        extra={
            "kib_per_viewer": round(sum(per_viewer.values()), 2),
            "kib_per_viewer_by_part": per_viewer,
            "mib_before": _mib(before),
            "mib_after_all_left": _mib(left),
            "connects_per_second": round(viewers / client.ready["connect_seconds"]),
        },
    )


def churn(system: type[System], placement: Placement, rounds: int = 5, each: int = 20_000) -> Row:
    """Viewers that come, read the head and leave, half of them with a reset: memory must not grow with their number."""
    with started(system, placement) as running:
        publisher = Publisher(running, placement, Plan(_SESSIONS, 1, 1))
        sizes: list[float] = []
        rates: list[float] = []
        failed = 0
        try:
            for _ in range(rounds):
                client = LoadClient.start(
                    running.viewers(),
                    placement.load,
                    "churn",
                    connections=50,
                    total=each,
                    sessions=_SESSIONS,
                    first=running.first,
                )
                seen = client.finish(300)
                failed += seen.failed + seen.refused
                rates.append(round(seen.churned / seen.seconds))
                time.sleep(_SETTLE_SECONDS / 2)
                sizes.append(_mib(_usage(running.children[-1:])))
        finally:
            publisher.close()
    return Row(
        "k",
        f"{rounds * each} connects and disconnects",
        system.name,
        placement.name,
        **seen.latency.summary(),
        extra={"mib_after_each_round": sizes, "per_round": each, "connects_per_second": rates, "failed": failed},
    )


def _usage(children: Sequence[Child]) -> list[Usage]:
    return [child.usage() for child in children]


def _mib(usages: Sequence[Usage]) -> float:
    return round(sum(u.rss_bytes for u in usages) / 2**20, 1)
