"""A viewer of our own, over a plain socket: reads a stream, keeps what it was told, comes back with its last id."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TERMINALS = ("session.end", "session.failed", "session.cancelled")


@dataclass(frozen=True)
class Told:
    """One dispatched event."""

    event: str
    data: str
    id: str


@dataclass
class Viewer:
    """What one viewer has seen, over all its connections."""

    url: str
    seen: list[Told] = field(default_factory=list)
    last_id: str = ""
    connections: int = 0
    done: bool = False
    """Told that nothing is left (204), or saw the last run's terminal and the end of the response."""

    @property
    def texts(self) -> list[str]:
        return [told.data for told in self.seen if not told.event.startswith("session.")]

    def named(self, event: str) -> list[Told]:
        return [told for told in self.seen if told.event == event]

    async def watch(
        self, *, reconnects: random.Random | None = None, mean_seconds: float = 1.0, most: int = 10
    ) -> None:
        """Until done, through every end of a connection. `reconnects` cuts it at random, on average every
        `mean_seconds`, at `most` so often: on a slow machine too there is an end to it."""
        while not self.done:
            cut = reconnects is not None and self.connections < most
            limit = reconnects.expovariate(1 / mean_seconds) if cut and reconnects is not None else None
            with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                async with asyncio.timeout(limit):
                    await self.connect()
            if not self.done:
                await asyncio.sleep(0.05 if reconnects is None else reconnects.uniform(0, 0.1))

    async def connect(self) -> int:
        """One connection, until the server ends it. Returns the status."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
        self.connections += 1
        try:
            cursor = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
            path = f"{address.path}?{address.query}" if address.query else address.path
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{cursor}\r\n".encode())
            status, chunked = await _head(reader)
            if status == 204:
                self.done = True
            if status != 200:
                return status
            async for told in self._events(_body(reader, chunked)):
                self.seen.append(told)
            self.done = bool(self.seen) and self.seen[-1].event in (
                "session.end",
                "session.failed",
                "session.cancelled",
            )
            return status
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _events(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[Told]:
        rest = b""
        async for chunk in chunks:
            *frames, rest = (rest + chunk).split(b"\n\n")
            for frame in frames:
                event, data, given = "message", [], None
                for line in frame.decode().split("\n"):
                    name, _, value = line.partition(":")
                    value = value.removeprefix(" ")
                    if name == "event":
                        event = value
                    elif name == "data":
                        data.append(value)
                    elif name == "id":
                        given = value
                if given is not None:
                    self.last_id = given
                if data:
                    yield Told(event, "\n".join(data), self.last_id)


async def _head(reader: asyncio.StreamReader) -> tuple[int, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    return int(head.split(" ", 2)[1]), "transfer-encoding: chunked" in head


async def _body(reader: asyncio.StreamReader, chunked: bool) -> AsyncIterator[bytes]:
    if not chunked:
        while piece := await reader.read(65536):
            yield piece
        return
    while size := int((await reader.readline()).strip() or b"0", 16):
        yield (await reader.readexactly(size + 2))[:-2]
