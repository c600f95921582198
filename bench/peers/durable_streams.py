"""The Durable Streams Node reference server."""

from __future__ import annotations

import json
import shutil

from bench.loadclient import BUILD, ROOT, Target
from bench.peers.base import System
from bench.placement import Placement
from bench.process import Child, run, wait_for_port


class DurableStreams(System):
    """In-memory storage: its fastest."""

    name = "durable-streams-node"
    way = "durable-streams"
    cells = frozenset("abcdefg")

    _HOME = BUILD / "node"

    def install(self) -> None:
        self._HOME.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "apps" / "durable_streams.mjs", self._HOME)
        if not (self._HOME / "node_modules").exists():
            (self._HOME / "package.json").write_text('{"private": true, "type": "module"}')
            run(["npm", "install", "--no-audit", "--no-fund", "@durable-streams/server@0.3.7"], cwd=self._HOME)

    def version(self) -> str:
        package = self._HOME / "node_modules" / "@durable-streams" / "server" / "package.json"
        return str(json.loads(package.read_text())["version"])

    def start(self, placement: Placement) -> None:
        argv = ["node", "durable_streams.mjs", str(self.new_port())]
        node = Child("node", argv, cores=placement.system, cwd=self._HOME, log=self.scratch() / "node.log")
        self.children.append(node)
        wait_for_port(self.port, node)

    def viewers(self) -> Target:
        return Target(self.port, "/v1/stream/bench-%d?offset=-1&live=sse")
