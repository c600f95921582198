"""Cell f: viewers that come late and want everything from the start."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.live import Publisher, started
from bench.loadclient import LoadClient
from bench.peers.base import System
from bench.placement import Placement
from bench.publish.schedule import Plan
from bench.results import Row

_EVENTS = 1000
_SESSIONS = 20
_RATE = 200


def cell_f(system: type[System], placement: Placement) -> Iterator[Row]:
    """1,000 events of one session, from the request to the last event.

    The events are published at 200 a second in each of 20 sessions before anybody looks, so that the log holds what a
    model would have left. Then: one viewer, of a session nobody has asked for yet (20 times); one viewer, of the same
    session again (20 times); 1,000 viewers of one session at once (3 times).
    """
    plan = Plan(_SESSIONS, _RATE, _EVENTS)
    with started(system, placement) as running:
        publisher = Publisher(running, placement, plan)
        try:
            publisher.go(int((time.monotonic() + 0.1) * 1e6), 120)
            publisher.result(plan.seconds + 150)
            for variant, connections, sessions, waves in (
                ("alone, cold", 1, _SESSIONS, _SESSIONS),
                ("alone, again", 1, 1, 20),
                ("1000 at once", 1000, 1, 3),
            ):
                client = LoadClient.start(
                    running.replayers(),
                    placement.load,
                    "replay",
                    connections=connections,
                    sessions=sessions,
                    first=running.first,
                    events=_EVENTS,
                    repeat=waves,
                )
                seen = client.finish(60)
                yield Row(
                    "f",
                    variant,
                    running.name,
                    placement.name,
                    delivered_share=round((seen.events - seen.duplicates) / (_EVENTS * connections * waves), 5),
                    **seen.latency.summary(),
                    rss_mib={child.name: round(child.usage().rss_bytes / 2**20, 1) for child in running.children},
                    extra={
                        "all_caught_up_ms": [round(us / 1000, 1) for us in seen.waves_us],
                        "skipped": seen.gaps,
                        "duplicates": seen.duplicates,
                        "closed_early": seen.closed,
                    },
                )
        finally:
            publisher.close()
