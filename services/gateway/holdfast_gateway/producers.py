"""Producers for `dev`'s page: processes of their own, which use the SDK and outlive the gateway that started them.

A gateway that is killed and started again finds them in a file and takes hold of them again, so that they can still be
stopped, and none is left when development ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal as signals
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast_gateway.settings import Settings
from holdfast_gateway.web.dev import Signal, TooManyProducers

MOST_PRODUCERS: Final = 16
PROGRAM: Final = "holdfast.demo"
_NUMBERS: Final[Mapping[Signal, signals.Signals]] = {
    Signal.KILL: signals.SIGKILL,
    Signal.FREEZE: signals.SIGSTOP,
    Signal.THAW: signals.SIGCONT,
}
_POLITE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """A producer's process. `born` tells it from another one that got its id later."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        return _born(self.pid) == self.born

    def send(self, number: signals.Signals) -> bool:
        """False if it is gone."""
        if not self.alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


class ProcessProducers:
    """Starts producers, one per session at most of ours. Use as an async context manager; leaving it stops them all."""

    def __init__(self, settings: Settings, nats_url: str) -> None:
        self._home = Path(settings.home)
        self._file = self._home / "producers.json"
        self._model = (settings.openai_model or "the model") if settings.openai_url else None
        self._environ = os.environ | {
            "HOLDFAST_NATS_URL": nats_url,
            "HOLDFAST_OPENAI_URL": settings.openai_url,
            "HOLDFAST_OPENAI_MODEL": settings.openai_model,
            "HOLDFAST_OPENAI_KEY": settings.openai_key,
        }
        self._tenant = settings.tenant
        self._running: dict[str, Running] = {}
        self._reapers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ProcessProducers:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for session, (pid, born) in json.loads(self._file.read_text()).items():
                found = Running(int(pid), str(born))
                if found.alive:
                    self._running[session] = found
        return self

    async def __aexit__(self, *exc: object) -> None:
        for running in self._living().values():
            running.send(signals.SIGCONT)
            running.send(signals.SIGTERM)
        for _ in range(round(_POLITE_SECONDS / _LOOK_SECONDS)):
            if not self._living():
                break
            await asyncio.sleep(_LOOK_SECONDS)
        for running in self._living().values():
            running.send(signals.SIGKILL)
        if self._reapers:
            await asyncio.gather(*self._reapers, return_exceptions=True)
        self._file.unlink(missing_ok=True)

    @property
    def model(self) -> str | None:
        return self._model

    async def type(self, session: str, text: str, rate: float) -> int:
        return await self._start(session, text, "--rate", f"{rate:g}")

    async def ask(self, session: str, prompt: str) -> int:
        return await self._start(session, prompt, "--ask")

    def signal(self, session: str, signal: Signal) -> int | None:
        running = self._living().get(session)
        return running.pid if running is not None and running.send(_NUMBERS[signal]) else None

    async def _start(self, session: str, text: str, *options: str) -> int:
        if len(self._living()) >= MOST_PRODUCERS:
            raise TooManyProducers(MOST_PRODUCERS)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            PROGRAM,
            session,
            "--tenant",
            self._tenant,
            *options,
            stdin=PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environ,
            start_new_session=True,
        )
        self._running[session] = Running(process.pid, _born(process.pid))
        self._save()
        reaper = asyncio.create_task(self._see_off(process, text.encode()), name=f"producer-{process.pid}")
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)
        return process.pid

    async def _see_off(self, process: Process, text: bytes) -> None:
        """Hand over the text, then wait for the end. A producer that is killed meanwhile breaks the pipe: no matter."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await process.communicate(text)
        self._save()

    def _living(self) -> dict[str, Running]:
        self._running = {session: running for session, running in self._running.items() if running.alive}
        return self._running

    def _save(self) -> None:
        kept = {session: (running.pid, running.born) for session, running in self._living().items()}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(kept))
        fresh.replace(self._file)


def _born(pid: int) -> str:
    """When a process was started, in the kernel's ticks; empty if it is gone, or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "" if Path("/proc/self").exists() or not _exists(pid) else "unknown"
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
