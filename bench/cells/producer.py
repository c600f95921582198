"""Cell h: what publishing costs the process that runs the model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from bench.live import started
from bench.loadclient import BUILD, ROOT
from bench.peers.base import System
from bench.placement import Placement
from bench.process import BenchError, Child, free_port, wait_for_port
from bench.results import Row

_WAYS = ("sdk", "bare-publish", "xadd")


def cell_h(system: type[System], placement: Placement) -> Iterator[Row]:
    """Our SDK, a bare acknowledged JetStream publish per token, and Redis ``XADD`` per token, in turn.

    Each: the call's own time, the share of a 200 tokens/s model loop that it takes, CPU per token; for one
    session and for 100 sessions at once.
    """
    with started(system, placement) as running:
        redis_port = free_port()
        argv = ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        redis = Child("redis", argv, cores=placement.backing, cwd=running.scratch())
        try:
            wait_for_port(redis_port, redis)
            target = {**running.publish_target(), "redis": f"redis://127.0.0.1:{redis_port}"}
            for sessions in (1, 100):
                for way in _WAYS:
                    target["first"] = len(way) * 1000 + sessions
                    yield _one(running, placement, way, sessions, json.dumps(target))
        finally:
            redis.stop()


def _one(system: System, placement: Placement, way: str, sessions: int, target: str) -> Row:
    argv = [sys.executable, "-m", "bench.publish.cost", way, str(sessions), target]
    child = Child("producer", argv, cores=placement.load, cwd=ROOT.parent, talks=True, log=BUILD / "producer.log")
    try:
        answer = child.hear(60)
    finally:
        child.stop()
    if "error" in answer:
        raise BenchError(str(answer["error"]))
    return Row(
        "h",
        f"{way}, {sessions} session{'s' if sessions > 1 else ''} x 200 tokens/s",
        system.name if way == "sdk" else way,
        placement.name,
        offered=int(str(answer.pop("tokens"))),
        extra=answer,
    )
