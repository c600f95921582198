"""Real programs under test: nats-server, gateways, each a process of its own, ended by its id."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast_gateway.broker.embedded import EmbeddedServer
from holdfast_gateway.broker.provision import provision

START_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Nats:
    """A real nats-server with its monitoring port."""

    server: EmbeddedServer
    monitor: str

    @property
    def url(self) -> str:
        return self.server.url

    async def consumers(self) -> int:
        """How many consumers exist on all streams together, by the server's own figures."""
        jsz = await asyncio.to_thread(get_json, f"{self.monitor}/jsz?streams=true&consumers=true")
        streams = [s for account in jsz["account_details"] for s in account["stream_detail"]]
        assert streams, "the figures are of no use without streams"
        return sum(s["state"]["consumer_count"] for s in streams)


@asynccontextmanager
async def nats_server(directory: Path, *, partitions: int = 4, port: int = 0) -> AsyncIterator[Nats]:
    """A server with provisioned streams; `partitions` 0 leaves it empty."""
    monitor = free_port()
    server = EmbeddedServer(directory, port=port, extra_config=f'http: "127.0.0.1:{monitor}"')
    await server.start()
    try:
        if partitions:
            report = await provision([server.url], partitions, 1)
            assert report.ok, str(report)
        yield Nats(server, f"http://127.0.0.1:{monitor}")
    finally:
        await server.close()


@dataclass
class Program:
    """A running `holdfast-gateway`."""

    process: asyncio.subprocess.Process
    output: Path
    url: str = ""
    arguments: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.output.read_text()

    async def up(self, seconds: float = START_SECONDS) -> None:
        """Wait until it has said where it is, and answers there."""

        async def answering() -> bool:
            assert self.process.returncode is None, self.text
            found = re.search(r"http://\S+?:\d+", self.text)
            self.url = found[0] if found else ""
            return bool(found) and await answers(f"{self.url}/healthz", 200)

        await until(answering, seconds)

    async def wait(self, seconds: float = 10.0) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.wait(seconds)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


async def spawn(arguments: Sequence[str], *, cwd: Path, env: dict[str, str] | None = None) -> Program:
    """Start `holdfast-gateway` with these arguments; do not wait for anything."""
    with tempfile.NamedTemporaryFile(dir=cwd, suffix=".log", delete=False) as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holdfast_gateway",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")} | (env or {}),
            start_new_session=True,
        )
    return Program(process, Path(output.name), arguments=list(arguments))


@asynccontextmanager
async def running(
    command: str, *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> AsyncIterator[Program]:
    """A gateway that answers; stopped at the end if it still runs."""
    program = await spawn([command, *arguments], cwd=cwd, env=env)
    try:
        await program.up()
        yield program
    finally:
        if program.process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await program.stop(seconds=8)
            if program.process.returncode is None:
                await program.kill()
                raise AssertionError(f"it had to be killed: {program.text}")


def serving(nats: str, *more: str, port: int = 0) -> list[str]:
    """Arguments of `serve` for tests: ports of the system's choice, no time lost at the end."""
    return [
        "serve",
        "--nats",
        nats,
        "--port",
        str(port),
        "--admin-port",
        "0",
        "--drain",
        "0",
        "--drain-grace",
        "2s",
        *more,
    ]


async def status_of(url: str, method: str = "GET") -> int:
    """The status of an answer; 0 if there is none."""

    def ask() -> int:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    return await asyncio.to_thread(ask)


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def children_of(pid: int) -> dict[int, str]:
    """All processes below this one, with their command lines."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        for child in parents.get(todo.pop(), ()):
            with contextlib.suppress(OSError):
                found[child] = (Path("/proc") / str(child) / "cmdline").read_text().replace("\0", " ")
                todo.append(child)
    return found


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait until the condition (or what it awaits) holds; `TimeoutError` if it does not in time."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if inspect.isawaitable(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.02)


async def answers(url: str, status: int) -> bool:
    """Whether a GET is answered with this status."""
    return await status_of(url) == status


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
