"""The floor: what a bare loopback write costs here, so that every other figure has something to stand on."""

from __future__ import annotations

from bench.loadclient import BUILD, LoadClient, Target, compiled
from bench.placement import Placement
from bench.process import Child, free_port, wait_until_listening
from bench.results import Row

_SECONDS = 2


def floor(placement: Placement, viewers: int = 1000) -> Row:
    """A C loop that writes one 256-byte event to each of 1,000 connections in turn, nothing else."""
    port = free_port()
    argv = [str(compiled("floor")), str(port), str(viewers), str(_SECONDS)]
    child = Child("floor", argv, cores=placement.system, talks=True, log=BUILD / "floor.log")
    client = None
    try:
        wait_until_listening(port, child)
        client = LoadClient.start(Target(port, "/"), placement.load, "live", connections=viewers, sessions=1)
        client.wait_ready()
        answer = child.hear(_SECONDS + 20)
    finally:
        if client is not None:
            client.child.stop()
        child.stop()
    rate = float(str(answer["writes_per_second"]))
    return Row("floor", f"{viewers} connections", "a bare C loop", placement.name, events_per_second=rate, extra=answer)
