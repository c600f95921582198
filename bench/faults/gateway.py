"""A gateway as operators run it, behind a proxy on its link to NATS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.faults.child import Child
from bench.faults.cluster import Cluster, answers_200
from bench.faults.free_ports import FreePorts

READY_SECONDS = 20.0


def holdfast_gateway() -> str:
    """The installed command beside this interpreter."""
    return str(Path(sys.executable).parent / "holdfast-gateway")


class Gateway:
    """One gateway process and the proxy process that carries its NATS connections.

    Args:
        name: For logs.
        cluster: The NATS cluster behind the proxy.
        directory: For logs.
        ports: Where the ports come from.
        environment: ``HOLDFAST_*`` settings.
    """

    def __init__(
        self, name: str, cluster: Cluster, directory: Path, ports: FreePorts, environment: Mapping[str, str]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name, self.port, admin_port = name, ports.take(), ports.take()
        near = [ports.take() for _ in cluster.nodes]
        routes = [f"{port}=127.0.0.1:{node.client_port}" for port, node in zip(near, cluster.nodes, strict=True)]
        self.proxy = Child(
            f"{name}-link",
            [sys.executable, "-m", "bench.faults.tcp_proxy", *routes],
            directory / f"{name}-link.log",
            control=True,
        )
        urls = ",".join(f"nats://127.0.0.1:{port}" for port in near)
        self.child = Child(
            name,
            [
                holdfast_gateway(),
                "serve",
                *("--host", "127.0.0.1", "--port", str(self.port)),
                *("--nats", urls, "--auth", "none"),
            ],
            directory / f"{name}.log",
            environment={**environment, "HOLDFAST_ADMIN_PORT": str(admin_port)},
        )

    async def start(self) -> None:
        """Start the proxy if it is not there, heal it, start the gateway and wait until it is ready."""
        if not self.proxy.alive:
            self.proxy.start()
        self.link("heal")
        self.child.start()
        await self.ready()

    async def ready(self) -> None:
        """Wait until the gateway says that it is ready.

        Raises:
            TimeoutError: It was not within `READY_SECONDS`.
            RuntimeError: It ended instead.
        """
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(answers_200, f"http://127.0.0.1:{self.port}/readyz"):
                if not self.child.alive:
                    raise RuntimeError(f"{self.name} ended while it started; see its log")
                await asyncio.sleep(0.05)

    def link(self, mode: str) -> None:
        """Put the link into a mode of `bench.faults.tcp_proxy`."""
        self.proxy.tell(mode)

    async def stop(self) -> None:
        """End both processes."""
        await self.child.stop()
        await self.proxy.stop()
