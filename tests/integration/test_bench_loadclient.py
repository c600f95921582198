"""The load client against a server that does to it, on purpose, what it must notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable

import pytest
from bench import marker
from bench.loadclient import LoadClient, Seen, Target
from bench.process import BenchError

Script = Callable[[asyncio.StreamWriter, bytes], None]

_ANY_CORE = frozenset(os.sched_getaffinity(0))
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(index: int) -> bytes:
    return f"id: {index}\ndata: {marker.encode(time.monotonic_ns() // 1000, index, 64)}\n\n".encode()


@contextlib.asynccontextmanager
async def _server(script: Script) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # clients leave as they like
            script(writer, await reader.readuntil(b"\r\n\r\n"))
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _live(port: int, **options: int) -> Seen:
    client = LoadClient.start(Target(port, "/s/%d"), _ANY_CORE, "live", **options)
    try:
        await asyncio.to_thread(client.wait_ready, 10.0)
        return await asyncio.to_thread(client.finish, 5.0)
    finally:
        client.child.stop()


async def test_every_event_is_counted_across_chunks_and_writes() -> None:
    """Chunks of one byte, of an event and of several: framing is not part of what is counted."""

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        text = b"".join(_event(i) for i in range(30))
        writer.write(_HEAD + b"".join(_chunk(text[i : i + 1]) for i in range(200)))
        writer.write(_chunk(text[200:700]) + _chunk(text[700:]))

    async with _server(script) as port:
        seen = await _live(port, connections=7, sessions=2, events=30)
    assert (seen.established, seen.events, seen.duplicates, seen.gaps) == (7, 210, 0, 0)
    assert (seen.least, seen.most, len(seen.latency)) == (30, 30, 210)


async def test_a_lost_and_a_doubled_event_are_told() -> None:
    """Index 3 never comes, index 5 comes twice."""

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(_HEAD + b"".join(_chunk(_event(i)) for i in (0, 1, 2, 4, 5, 5, 6, 7, 8, 9)))

    async with _server(script) as port:
        seen = await _live(port, connections=3, sessions=1, events=10)
    assert (seen.events, seen.gaps, seen.duplicates) == (30, 3, 3)


async def test_the_start_is_left_out_of_latency_but_not_of_delivery() -> None:
    """``skip`` is for warming up."""

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(_HEAD + b"".join(_chunk(_event(i)) for i in range(20)))

    async with _server(script) as port:
        seen = await _live(port, connections=2, sessions=1, events=20, skip=15)
    assert (seen.events, len(seen.latency)) == (40, 10)


async def test_a_refused_viewer_fails_the_run() -> None:
    """A status other than 200 is never a viewer that saw nothing."""

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    async with _server(script) as port:
        with pytest.raises(BenchError, match="not every viewer"):
            await _live(port, connections=2, sessions=1, events=1)


async def test_waves_of_replay_go_through_the_sessions() -> None:
    """Each wave asks for the next session from ``first`` on, and has its own time."""
    asked: list[bytes] = []

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        asked.append(request.split(b" ", 2)[1])
        writer.write(_HEAD + b"".join(_chunk(_event(i)) for i in range(5)))

    async with _server(script) as port:
        client = LoadClient.start(
            Target(port, "/s/%d"), _ANY_CORE, "replay", connections=1, sessions=3, first=10, events=5, repeat=3
        )
        seen = await asyncio.to_thread(client.finish, 10.0)
    assert asked == [b"/s/10", b"/s/11", b"/s/12"]
    assert (len(seen.waves_us), len(seen.latency), seen.events) == (3, 3, 15)


async def test_a_stalled_viewer_never_reads() -> None:
    """It asks and then leaves its socket alone: the server's writes pile up for it and for nobody else."""
    writers: list[asyncio.StreamWriter] = []

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        writers.append(writer)
        writer.write(_HEAD)
        for i in range(2000):
            writer.write(_chunk(_event(i).ljust(2000, b" ")))

    async with _server(script) as port:
        client = LoadClient.start(
            Target(port, "/s/%d"), _ANY_CORE, "live", connections=3, sessions=1, events=2001, stall=1
        )
        try:
            await asyncio.to_thread(client.wait_ready, 10.0)
            async with asyncio.timeout(10):
                while sum(w.transport.get_write_buffer_size() == 0 for w in writers) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            left = sorted(w.transport.get_write_buffer_size() for w in writers)
            seen = await asyncio.to_thread(client.finish, 0.5)  # it waits for event 2001
        finally:
            client.child.stop()
    assert left[:2] == [0, 0]
    assert left[2] > 3_000_000
    assert (seen.stalled, seen.events) == (1, 4000)


async def test_churn_opens_and_leaves_as_often_as_asked() -> None:
    """Every connect has its head and its time."""

    def script(writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(_HEAD)

    async with _server(script) as port:
        client = LoadClient.start(Target(port, "/"), _ANY_CORE, "churn", connections=5, total=100, sessions=1)
        seen = await asyncio.to_thread(client.finish, 20.0)
    assert (seen.churned, seen.failed, seen.refused, len(seen.latency)) == (100, 0, 0, 100)
