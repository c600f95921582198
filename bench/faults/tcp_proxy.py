"""A TCP proxy in a process of its own, for the link between a gateway and its NATS servers.

Standard input takes one word a line: ``cut`` resets what is open and refuses what is new; ``freeze`` leaves every byte
where it is, as a partition that TCP outlives does; ``blackhole`` goes on accepting and drops the bytes; ``forget``
drops the bytes of the connections that are open and serves new ones, as a middlebox that lost its state does; ``heal``
ends all of them (connections that lost bytes are reset: TCP never skips).
End of input ends the process.

Usage: ``python -m bench.faults.tcp_proxy 21001=127.0.0.1:24222 21002=127.0.0.1:24223``
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from bench.faults.stdin_lines import stdin_lines

CHUNK_BYTES = 64 * 1024


class Link:
    """All connections of one proxy process, and the mode they are in."""

    def __init__(self) -> None:
        self.mode = "heal"
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: set[Pair] = set()

    def command(self, word: str) -> None:
        """Change the mode; unknown words are an error of the harness and end the process."""
        if word not in ("cut", "freeze", "blackhole", "forget", "heal"):
            raise ValueError(word)
        self.mode = word
        if word == "cut":
            for pair in list(self._pairs):
                pair.abort()
        if word == "forget":
            for pair in self._pairs:
                pair.forgotten = True
        if word == "heal":
            for pair in [pair for pair in self._pairs if pair.lost_bytes or pair.forgotten]:
                pair.abort()
        if word == "freeze":
            self._open.clear()
        else:
            self._open.set()

    async def accept(
        self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter, target: tuple[str, int]
    ) -> None:
        """Serve one accepted connection until either end closes it or the mode does."""
        if self.mode == "cut":
            near_writer.transport.abort()
            return
        await self._open.wait()
        try:
            far, far_writer = await asyncio.open_connection(*target)
        except OSError:
            near_writer.transport.abort()
            return
        pair = Pair(near_writer, far_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(near, far_writer, pair))
                both.create_task(self._pump(far, near_writer, pair))
        finally:
            self._pairs.discard(pair)
            pair.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pair: Pair) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._open.wait()
                received = await source.read(CHUNK_BYTES)
                await self._open.wait()
                if not received:
                    break
                if self.mode == "blackhole" or pair.forgotten:
                    pair.lost_bytes += len(received)
                    continue
                sink.write(received)
                await sink.drain()
        pair.abort()


class Pair:
    """The two halves of one proxied connection."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._writers = (near, far)
        self.lost_bytes = 0
        self.forgotten = False

    def abort(self) -> None:
        """Reset both halves."""
        for writer in self._writers:
            writer.transport.abort()


async def serve(routes: list[str]) -> None:
    """Listen for every ``port=host:port`` and obey standard input until it ends."""
    link = Link()
    servers = []
    for route in routes:
        port, _, target = route.partition("=")
        host, _, target_port = target.rpartition(":")

        async def accepted(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            where: tuple[str, int] = (host, int(target_port)),
        ) -> None:
            await link.accept(reader, writer, where)

        servers.append(await asyncio.start_server(accepted, "127.0.0.1", int(port)))
    print("ready", flush=True)
    async for word in stdin_lines():
        link.command(word)
        print(word, flush=True)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
