"""A wire between nats-server and the gateway that throws away live messages: what republishing may do at any time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class LossyWire:
    """A proxy in front of a nats-server. Drops a share of the messages on `hfl.` subjects, nothing else."""

    port: int
    share: float
    dice: random.Random
    passed: int = 0
    dropped: int = 0

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def keeps(self, line: bytes) -> bool:
        if not line.split(b" ", 2)[1].startswith(b"hfl."):
            return True
        if self.dice.random() < self.share:
            self.dropped += 1
            return False
        self.passed += 1
        return True

    async def from_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith((b"MSG ", b"HMSG ")):
                body = await reader.readexactly(int(line.split()[-1]) + 2)
                if self.keeps(line):
                    writer.write(line + body)
            else:
                writer.write(line)
            await writer.drain()


@asynccontextmanager
async def lossy_wire(nats_url: str, share: float, seed: int) -> AsyncIterator[LossyWire]:
    """The wire, as long as the block runs."""
    target = urlsplit(nats_url)
    tasks: set[asyncio.Task[None]] = set()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        back: asyncio.StreamWriter | None = None
        try:
            there, back = await asyncio.open_connection(target.hostname, target.port, limit=1 << 21)
            async with asyncio.TaskGroup() as group:
                up = group.create_task(_copy(reader, back))
                await wire.from_server(there, writer)
                up.cancel()
        except* (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            for end in (writer, back):
                if end is not None:
                    end.transport.abort()
                    with contextlib.suppress(OSError):
                        await end.wait_closed()

    server = await asyncio.start_server(join, "127.0.0.1", 0, limit=1 << 21)
    wire = LossyWire(server.sockets[0].getsockname()[1], share, random.Random(seed))
    try:
        yield wire
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
