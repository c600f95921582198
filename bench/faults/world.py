"""What a series of runs happens in: one cluster, provisioned, and the gateways before it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from types import TracebackType

from bench.faults.child import Child
from bench.faults.cluster import Cluster
from bench.faults.free_ports import FreePorts
from bench.faults.gateway import Gateway, holdfast_gateway
from bench.faults.schedule import GATEWAYS

PARTITIONS = 3
# As short as the rules allow: an isolated leader answers probes for up to ten seconds, so the gateway refuses less.
LEASE_SECONDS = 3
GRACE_SECONDS = 12
# Both ways out of a gateway are judged: past uvicorn and through it.
WAYS_OUT = ("auto", "off")
CLOSED_WITHIN_SECONDS = LEASE_SECONDS + GRACE_SECONDS + 2


class World:
    """Cluster and gateways, started on entry, ended on exit; runs leave it whole.

    Args:
        directory: For everything it writes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ports = FreePorts()
        self.cluster = Cluster(directory / "nats", ports)
        self.gateways = [
            Gateway(
                f"g{number}",
                self.cluster,
                directory / "gateways",
                ports,
                {"HOLDFAST_GRACE": str(GRACE_SECONDS), "HOLDFAST_HANDOVER": WAYS_OUT[number % len(WAYS_OUT)]},
            )
            for number in range(GATEWAYS)
        ]
        self.streams: list[str] = []

    async def __aenter__(self) -> World:
        try:
            await self.cluster.start()
            await self._provision()
            self.streams = await self.cluster.streams()
            for gateway in self.gateways:
                await gateway.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for gateway in self.gateways:
            await gateway.stop()
        await self.cluster.stop()

    async def _provision(self) -> None:
        urls = ",".join(self.cluster.urls)
        command = [
            "provision",
            "--nats",
            urls,
            "--partitions",
            str(PARTITIONS),
            "--replicas",
            "3",
            "--max-bytes",
            "512MiB",
        ]
        log = self.directory / "provision.log"
        child = Child("provision", [holdfast_gateway(), *command], log)
        child.start()
        if await child.ended(30) != 0:
            await child.kill()
            raise RuntimeError(f"provision failed: {await asyncio.to_thread(log.read_text)}")
        await self.cluster.whole()

    async def whole(self) -> None:
        """Mend everything and wait until it is well; what a run did ends with it."""
        await self.cluster.whole()
        for gateway in self.gateways:
            gateway.link("heal")
            gateway.child.send(signal.SIGCONT)
            if gateway.child.alive:
                await gateway.ready()
            else:
                await gateway.start()


def python_child(name: str, module: str, plan: Path, log: Path) -> Child:
    """A child that runs one of this package's programs on a plan file."""
    return Child(name, [sys.executable, "-m", f"bench.faults.{module}", str(plan)], log, control=True)
