"""The load client: built from ``load/sseload.c`` once, started on the load core, read as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.histogram import Histogram
from bench.process import BenchError, Child, run

ROOT = Path(__file__).parent
BUILD = ROOT / ".build"


@dataclass(frozen=True, slots=True)
class Target:
    """Where viewers go.

    Attributes:
        port: TCP port on the loopback interface.
        path: Request path; ``%d`` is the session's number.
        headers: Further request header lines.
        paths: A file with one path per session, instead of ``path``.
    """

    port: int
    path: str
    headers: tuple[str, ...] = ()
    paths: Path | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What all viewers of one run saw, from their own records."""

    connections: int
    stalled: int
    established: int
    failed: int
    refused: int
    closed: int
    events: int
    duplicates: int
    gaps: int
    window_events: int
    bytes: int
    first_us: int
    last_us: int
    least: int
    most: int
    churned: int
    cpu_seconds: float
    latency: Histogram
    waves_us: tuple[int, ...] = ()
    seconds: float = 0.0

    @classmethod
    def read(cls, answer: dict[str, Any]) -> Seen:
        """Read the client's last line."""
        counts = dict(answer)
        latency = Histogram((int(i), int(n)) for i, n in counts.pop("histogram"))
        waves = tuple(int(w) for w in counts.pop("waves_us", ()))
        return cls(latency=latency, waves_us=waves, **counts)


def compiled(name: str = "sseload") -> Path:
    """Compile a program of ``load/`` unless the binary is newer than its source.

    Raises:
        BenchError: there is no C compiler, or it failed.
    """
    source, binary = ROOT / "load" / f"{name}.c", BUILD / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        run(["cc", "-O2", "-Wall", "-Wextra", "-std=gnu11", "-o", str(binary), str(source)])
    return binary


@dataclass(slots=True)
class LoadClient:
    """A running load client."""

    child: Child
    ready: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, target: Target, cores: frozenset[int], mode: str, **options: int) -> LoadClient:
        """Start it in ``mode``; ``options`` are its flags, without the dashes."""
        argv = [str(compiled()), "--port", str(target.port), "--path", target.path, "--mode", mode]
        if target.headers:
            argv += ["--header", "\r\n".join(target.headers)]
        if target.paths is not None:
            argv += ["--paths", str(target.paths)]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        BUILD.mkdir(exist_ok=True)
        return cls(Child("load client", argv, cores=cores, talks=True, log=BUILD / "client.log"))

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Wait until every connection has its response head.

        Raises:
            BenchError: some viewers were not let in, or not in time.
        """
        self.ready = self.child.hear(timeout_seconds)
        if self.ready["failed"] or self.ready["refused"]:
            raise BenchError(f"not every viewer was let in: {self.ready}")

    def window(self, from_us: int, to_us: int) -> None:
        """Have deliveries between the two times counted apart."""
        self.child.say(f"window {from_us} {to_us}")

    def finish(self, timeout_seconds: float, *, wait: bool = True) -> Seen:
        """Return what was seen: when all has arrived (``wait``), at the latest after ``timeout_seconds``."""
        try:
            if wait:
                try:
                    return Seen.read(self.child.hear(timeout_seconds))
                except BenchError:
                    if not self.child.alive():
                        raise
            self.child.say("stop")
            return Seen.read(self.child.hear(30.0))
        finally:
            self.child.stop()
