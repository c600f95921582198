"""One measured run of viewers that follow producers: the shape most cells share."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.loadclient import BUILD, ROOT, LoadClient, Seen
from bench.peers.base import System
from bench.placement import Placement
from bench.process import Child, Usage
from bench.publish.schedule import Plan
from bench.results import Row

_LEAD_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """A live load.

    Attributes:
        plan: What is published; its first ``warm_seconds`` count for delivery, not for latency.
        viewers: How many connections, spread evenly over the sessions.
        stalled: How many of them never read.
        warm_seconds: How long the start is left out of latency and rate.
        drain_seconds: How long after the schedule's end events may still arrive.
    """

    plan: Plan
    viewers: int
    stalled: int = 0
    warm_seconds: float = 1.0
    drain_seconds: float = 2.0

    @property
    def due(self) -> float:
        """Return the number of deliveries when every reading viewer gets every event of its session."""
        per_session = self.viewers // self.plan.sessions
        return self.plan.total * per_session - self.plan.events * self.stalled


class Publisher:
    """The publisher process of one run."""

    def __init__(self, system: System, placement: Placement, plan: Plan) -> None:
        """Start it; sessions are open when this returns."""
        target = json.dumps(system.publish_target())
        argv = [sys.executable, "-m", "bench.publish", system.way, plan.to_json(), target]
        self._plan = plan
        BUILD.mkdir(exist_ok=True)
        log = BUILD / "publisher.log"
        self.child = Child("publisher", argv, cores=placement.load, cwd=ROOT.parent, talks=True, log=log)
        try:
            self.child.hear(60)
        except BaseException:
            self.child.stop()
            raise

    def go(self, start_us: int, patience_seconds: float) -> None:
        """Have the schedule start at ``start_us``."""
        self.child.say(f"go {start_us} {patience_seconds}")

    def result(self, timeout_seconds: float) -> dict[str, Any]:
        """Return what it published, once all is accepted or its patience is over."""
        return self.child.hear(timeout_seconds)

    def close(self) -> None:
        """End its sessions and the process."""
        self.child.say("finish")
        self.child.stop()


@contextlib.contextmanager
def started(system_class: type[System], placement: Placement) -> Iterator[System]:
    """Run a system for the length of the block."""
    system = system_class()
    try:
        system.start(placement)
        yield system
    finally:
        system.stop()


def measure(cell: str, variant: str, system: System, placement: Placement, load: Load) -> Row:
    """Run ``load`` once against a started system.

    Raises:
        BenchError: a part ended, or a viewer was refused.
    """
    plan = load.plan
    system.next_round(plan.sessions)
    publisher = Publisher(system, placement, plan)
    client = None
    try:
        client = LoadClient.start(
            system.viewers(),
            placement.load,
            "live",
            connections=load.viewers,
            sessions=plan.sessions,
            first=system.first,
            events=plan.events,
            skip=int(load.warm_seconds * plan.rate),
            stall=load.stalled,
        )
        client.wait_ready()
        parts = [*system.children, publisher.child, client.child]
        start = time.monotonic() + _LEAD_SECONDS
        opens, closes = start + load.warm_seconds, start + plan.seconds
        client.window(int(opens * 1e6), int(closes * 1e6))
        publisher.go(int(start * 1e6), load.drain_seconds)
        before = _usage_at(opens, parts)
        after = _usage_at(closes, parts)
        published = publisher.result(load.drain_seconds + 30)
        seen = client.finish(load.drain_seconds)
    finally:
        if client is not None:
            client.child.stop()
        publisher.close()
    seconds = closes - opens
    names = [part.name for part in parts]
    return Row(
        cell,
        variant,
        system.name,
        placement.name,
        offered=plan.total,
        delivered_share=round((seen.events - seen.duplicates) / load.due, 5),
        events_per_second=round(seen.window_events / seconds, 1),
        **seen.latency.summary(),
        cpu=_cpu(names, before, after, seconds),
        rss_mib=_rss(names, before, after),
        extra=_extra(seen, published),
    )


def _usage_at(when: float, parts: Sequence[Child]) -> list[Usage]:
    time.sleep(max(0.0, when - time.monotonic()))
    return [part.usage() for part in parts]


def _cpu(names: list[str], before: list[Usage], after: list[Usage], seconds: float) -> dict[str, float]:
    spent = [b.cpu_seconds - a.cpu_seconds for a, b in zip(before, after, strict=True)]
    return {name: round(used / seconds, 3) for name, used in zip(names, spent, strict=True)}


def _extra(seen: Seen, published: dict[str, Any]) -> dict[str, Any]:
    return {
        "duplicates": seen.duplicates,
        "skipped": seen.gaps,
        "closed_early": seen.closed,
        "accepted": published["accepted"],
        "producer_late_ms": round(published["late_seconds"] * 1000, 1),
        "bytes_per_event": round(seen.bytes / seen.events, 1) if seen.events else None,
    }


def _rss(names: list[str], before: list[Usage], after: list[Usage]) -> dict[str, float]:
    # The load client may have ended with the last event; what it held a moment before is the truth then.
    held = [b.rss_bytes or a.rss_bytes for a, b in zip(before, after, strict=True)]
    return {name: round(rss / 2**20, 1) for name, rss in zip(names, held, strict=True)}
