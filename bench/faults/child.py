"""Child processes that the harness owns: started with a log each, signalled by pid, and gone when the harness is."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1


class Child:
    """One program, which may be started, killed and started again under the same name.

    Args:
        name: For the log's name and for people.
        argv: Program and arguments.
        log: Standard output and error are appended here.
        environment: Added to the harness's own.
        control: Whether the harness writes commands to its standard input.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        control: bool = False,
    ) -> None:
        self.name = name
        self._argv = list(argv)
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._control = control
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the child that was started last."""
        return self._started.pid

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process

    @property
    def alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; from the main thread only, because the death signal is tied to the thread that forks."""
        if self.alive:
            raise RuntimeError(f"{self.name} is already running")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE if self._control else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # In the harness's own group the kernel would wake a stopped child when the shell behind it goes.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a child that has ended is left in peace."""
        if self.alive:
            self._started.send_signal(number)

    def tell(self, line: str) -> None:
        """Write one command line; a child that has ended or closed its input is left in peace."""
        stdin = self._started.stdin
        if stdin is None:
            raise RuntimeError(f"{self.name} takes no commands")
        try:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    async def ended(self, timeout_seconds: float) -> int | None:
        """Wait for its end and return its exit status, ``None`` when it is still there after the time-out."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while (status := self._started.poll()) is None:
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(POLL_SECONDS)
        self._close()
        return status

    async def kill(self) -> None:
        """SIGKILL and reap; works on a stopped child too."""
        if self._process is None:
            return
        self.send(signal.SIGKILL)
        await self.ended(10)

    async def stop(self, timeout_seconds: float = 5.0) -> None:
        """SIGTERM, then SIGKILL after the time-out."""
        if self._process is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if await self.ended(timeout_seconds) is None:
            await self.kill()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
