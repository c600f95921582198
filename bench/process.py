"""Child processes on given cores, what they cost, and their orderly end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A part of the benchmark did not start, did not answer, or answered nonsense."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children hold and have used so far."""

    cpu_seconds: float
    rss_bytes: int


class Child:
    """One started process; its children count with it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cores: frozenset[int],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        talks: bool = False,
        log: Path | None = None,
    ) -> None:
        """Start ``argv`` on ``cores``.

        Args:
            name: What it is called in results, for example ``gateway``.
            argv: Program and arguments.
            cores: The CPU cores it may run on.
            env: Added to this process' environment.
            cwd: Its working directory.
            talks: Whether it is spoken to by lines on its standard input and output.
            log: Where its standard error (and output, unless it talks) goes.
        """
        self.name = name
        self._log = log
        sink: IO[bytes] | int = log.open("ab") if log is not None else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, sorted(cores))), *argv],
                env={**os.environ, **(env or {})},
                cwd=cwd,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else sink,
                stderr=sink,
                start_new_session=True,
            )
        finally:
            if not isinstance(sink, int):
                sink.close()
        self._unread = b""
        self._raise_priority()

    def _raise_priority(self) -> None:
        # Where the kernel groups tasks by session, a nice value counts only within its session; the group has its own.
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        if nice < 0:
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.pid}/autogroup").write_text(str(nice))

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._process.poll() is None

    def say(self, line: str) -> None:
        """Write one line to its standard input; silently too late when it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def hear(self, timeout_seconds: float) -> dict[str, object]:
        """Read one line of JSON from its standard output.

        Raises:
            BenchError: it ended, said nothing in time, or said something else.
        """
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        fd = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise BenchError(f"{self.name} said nothing for {timeout_seconds:.0f} s{self._tail()}")
            data = os.read(fd, 1 << 20)
            if not data:
                raise BenchError(f"{self.name} ended with {self._process.wait()}{self._tail()}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise BenchError(f"{self.name} answered {line[:200]!r}")
        return answer

    def usage(self) -> Usage:
        """Return CPU time (user and system) and resident memory of it and its children."""
        cpu = 0.0
        rss = 0
        for pid in _family(self.pid):
            with contextlib.suppress(OSError, ValueError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                cpu += (int(fields[11]) + int(fields[12])) / _TICKS
                rss += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return Usage(cpu, rss)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """End it and its children: first asked, then killed. Idempotent."""
        for how, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            if self._process.poll() is not None and how is signal.SIGTERM:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _tail(self) -> str:
        if self._log is None or not self._log.exists():
            return ""
        return ":\n" + self._log.read_text(errors="replace")[-1500:]


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _family(int(child))


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for_port(port: int, child: Child, timeout_seconds: float = 20.0) -> None:
    """Wait until ``port`` accepts connections.

    Raises:
        BenchError: the child ended first, or the time is up.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if not child.alive():
            raise BenchError(f"{child.name} ended before it listened{child._tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise BenchError(f"{child.name} does not listen on its port after {timeout_seconds:.0f} s{child._tail()}")


def wait_until_listening(port: int, child: Child, timeout_seconds: float = 5.0) -> None:
    """Wait until somebody listens on ``port``, without connecting: for servers that count their connections.

    Raises:
        BenchError: the child ended first, or the time is up.
    """
    deadline = time.monotonic() + timeout_seconds
    wanted = f":{port:04X} 00000000:0000 0A"
    while time.monotonic() < deadline:
        if wanted in Path("/proc/net/tcp").read_text():
            return
        if not child.alive():
            raise BenchError(f"{child.name} ended before it listened{child._tail()}")
        time.sleep(0.02)
    raise BenchError(f"{child.name} does not listen on its port after {timeout_seconds:.0f} s")


def run(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its standard output.

    Raises:
        BenchError: it is missing or failed.
    """
    try:
        done = subprocess.run(
            argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as missing:
        raise BenchError(f"{argv[0]} is not installed") from missing
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv[:3])} failed: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout
