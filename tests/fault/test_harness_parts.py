"""The harness's own processes on real sockets: the proxy's modes, and a viewer that behaves as `EventSource` does."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bench.faults.child import Child
from bench.faults.free_ports import FreePorts
from bench.faults.world import python_child

pytestmark = pytest.mark.fault
BOUND_SECONDS = 10.0


async def logged(path: Path, word: str, times: int = 1) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            if await asyncio.to_thread(lambda: path.exists() and path.read_text().split().count(word) >= times):
                return
            await asyncio.sleep(0.02)


class Echo:
    """A proxied echo server."""

    def __init__(self, port: int, child: Child, log: Path) -> None:
        self.port, self.child, self._log = port, child, log
        self._told: dict[str, int] = {}

    async def mode(self, word: str) -> None:
        self._told[word] = self._told.get(word, 0) + 1
        self.child.tell(word)
        await logged(self._log, word, self._told[word])


@asynccontextmanager
async def proxied_echo(tmp_path: Path) -> AsyncIterator[Echo]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while received := await reader.read(1024):
                writer.write(received)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    near, far = FreePorts().take(), server.sockets[0].getsockname()[1]
    log = tmp_path / "proxy.log"
    child = python_child("proxy", "tcp_proxy", tmp_path, log)
    child._argv[-1] = f"{near}=127.0.0.1:{far}"
    child.start()
    try:
        await logged(log, "ready")
        yield Echo(near, child, log)
    finally:
        await child.kill()
        server.close()
        await server.wait_closed()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> bytes:
    writer.write(sent)
    async with asyncio.timeout(0.5):
        return await reader.read(1024)


async def is_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> bool:
    try:
        return await exchange(reader, writer, sent) == b""
    except ConnectionError:
        return True


async def test_the_proxy_passes_cuts_and_heals(tmp_path: Path) -> None:
    async with proxied_echo(tmp_path) as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await exchange(reader, writer, b"one") == b"one"
        await echo.mode("cut")
        assert await is_reset(reader, writer, b"")
        writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await is_reset(reader, writer, b"two")
        writer.transport.abort()
        await echo.mode("heal")
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await exchange(reader, writer, b"three") == b"three"
        writer.transport.abort()


async def test_a_freeze_keeps_every_byte(tmp_path: Path) -> None:
    async with proxied_echo(tmp_path) as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await exchange(reader, writer, b"one") == b"one"
        await echo.mode("freeze")
        with pytest.raises(TimeoutError):
            await exchange(reader, writer, b"two")
        await echo.mode("heal")
        assert await exchange(reader, writer, b"") == b"two"
        writer.transport.abort()


async def test_a_black_hole_drops_bytes_and_its_connections_do_not_survive(tmp_path: Path) -> None:
    async with proxied_echo(tmp_path) as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await exchange(reader, writer, b"one") == b"one"
        await echo.mode("blackhole")
        with pytest.raises(TimeoutError):
            await exchange(reader, writer, b"two")
        await echo.mode("heal")
        assert await is_reset(reader, writer, b"")
        writer.transport.abort()


async def test_what_is_forgotten_is_dropped_and_what_is_new_is_served(tmp_path: Path) -> None:
    async with proxied_echo(tmp_path) as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await exchange(reader, writer, b"one") == b"one"
        await echo.mode("forget")
        with pytest.raises(TimeoutError):
            await exchange(reader, writer, b"two")
        new_reader, new_writer = await asyncio.open_connection("127.0.0.1", echo.port)
        assert await exchange(new_reader, new_writer, b"three") == b"three"
        await echo.mode("heal")
        assert await is_reset(reader, writer, b"")
        assert await exchange(new_reader, new_writer, b"four") == b"four"
        writer.transport.abort()
        new_writer.transport.abort()


async def test_a_viewer_resumes_with_its_last_id_and_stops_at_204(tmp_path: Path) -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        b"retry: 40\nid: i-1\ndata: a\n\n:beat\n\nid: i-2\n\nid: i-9\ndata: cut",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1c\r\nid: i-3\ndata: b\ndata: c\n\n:x\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ]
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answers[len(heads) - 1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    dead_port = FreePorts().take()
    plan = {
        "record": str(tmp_path / "viewer-0.jsonl"),
        "gateways": [["127.0.0.1", dead_port], ["127.0.0.1", server.sockets[0].getsockname()[1]]],
        "seed": "s",
        "viewers": [{"name": "v", "session": "chat-1", "query": "wait=30"}],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    child = python_child("viewer", "viewer", tmp_path / "plan.json", tmp_path / "viewer.log")
    child.start()
    assert await child.ended(BOUND_SECONDS) == 0, (tmp_path / "viewer.log").read_text()
    server.close()
    await server.wait_closed()
    assert heads[0].startswith("GET /v1/sessions/chat-1/events?wait=30 HTTP/1.1\r\n")
    assert "Last-Event-ID" not in heads[0]
    assert "Last-Event-ID: i-2\r\n" in heads[1]
    assert "Last-Event-ID: i-3\r\n" in heads[2]
    records = [json.loads(line) for line in (tmp_path / "viewer-0.jsonl").read_text().splitlines()]
    frames = [(r["type"], r["id"], r["data"]) for r in records if r["kind"] == "frame"]
    assert frames == [("message", "i-1", "a"), ("message", "i-3", "b\nc")]
    assert [r["why"] for r in records if r["kind"] == "finished"] == ["status 204"]
    times = [r["at"] for r in records]
    assert times == sorted(times)


async def test_a_viewer_that_is_told_to_quit_says_that_it_was_still_waiting(tmp_path: Path) -> None:
    plan = {
        "record": str(tmp_path / "viewer-0.jsonl"),
        "gateways": [["127.0.0.1", FreePorts().take()]],
        "seed": "s",
        "viewers": [{"name": "v", "session": "chat-1"}],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    child = python_child("viewer", "viewer", tmp_path / "plan.json", tmp_path / "viewer.log")
    child.start()
    await logged(tmp_path / "viewer-0.jsonl", '"refused",')
    child.tell("quit")
    assert await child.ended(BOUND_SECONDS) == 0
    records = [json.loads(line) for line in (tmp_path / "viewer-0.jsonl").read_text().splitlines()]
    assert [r["why"] for r in records if r["kind"] == "gave up"] == ["still waiting"]


async def test_a_child_is_stopped_continued_and_killed_by_its_pid(tmp_path: Path) -> None:
    child = Child("sleeper", ["sleep", "60"], tmp_path / "sleeper.log")
    child.start()
    child.send(signal.SIGSTOP)
    assert await child.ended(0.1) is None
    await child.kill()
    assert await child.ended(0.1) == -signal.SIGKILL
    assert not child.alive
    child.start()
    await child.stop()
    assert not child.alive
