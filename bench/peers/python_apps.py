"""Peers that are Python libraries behind uvicorn."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from bench.loadclient import BUILD, ROOT, Target
from bench.peers.base import System
from bench.placement import Placement
from bench.process import Child, free_port, run, wait_for_port


def _uvicorn(system: System, app: str, placement: Placement, python: str = sys.executable, **env: str) -> None:
    child = Child(
        "app",
        [
            *(
                python,
                "-m",
                "uvicorn",
                app,
                "--port",
                str(system.new_port()),
                "--loop",
                "uvloop",
                "--http",
                "httptools",
            ),
            *("--log-level", "error", "--no-access-log", "--backlog", "4096"),
        ],
        cores=placement.system,
        cwd=ROOT.parent,
        env=env,
        log=system.scratch() / "app.log",
    )
    system.children.append(child)
    wait_for_port(system.port, child)


class QueuePerViewer(System):
    """FastAPI, sse-starlette, an ``asyncio.Queue`` per viewer; events are made in the same process."""

    name = "fastapi+sse-starlette"
    way = "in-process"
    cells = frozenset("abcdeg")
    absent: ClassVar = {"f": "keeps no history"}

    def install(self) -> None:
        metadata.version("sse-starlette")

    def version(self) -> str:
        return f"{metadata.version('fastapi')} + {metadata.version('sse-starlette')}"

    def start(self, placement: Placement) -> None:
        _uvicorn(self, "bench.apps.queue_per_viewer:app", placement)

    def viewers(self) -> Target:
        return Target(self.port, "/events/%d")


class ResumableSse(System):
    """resumable-sse with its Redis backend; the generators run in the same process, as the library has it."""

    name = "resumable-sse+redis"
    way = "in-process"
    cells = frozenset("adef")
    backed = True
    absent: ClassVar = {
        "b": "saturated in cell a",
        "c": "saturated in cell a",
        "g": "polls Redis per viewer: a stalled one is never written to",
    }

    _VENV = BUILD / "venv-resumable-sse"

    @property
    def _python(self) -> Path:
        return self._VENV / "bin" / "python"

    def install(self) -> None:
        run(["redis-server", "--version"])
        if not (self._VENV / "done").exists():
            run([sys.executable, "-m", "venv", str(self._VENV)])
            packages = ("resumable-sse[redis]", "redis", "fastapi", "uvicorn", "uvloop", "httptools", "sse-starlette")
            run([str(self._python), "-m", "pip", "install", "-q", *packages])
            (self._VENV / "done").touch()

    def version(self) -> str:
        code = "from importlib.metadata import version; print(version('resumable-sse'))"
        return run([str(self._python), "-c", code]).strip()

    def start(self, placement: Placement) -> None:
        port = free_port()
        redis = Child(
            "redis",
            ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"],
            cores=placement.backing,
            cwd=self.scratch(),
            log=self.scratch() / "redis.log",
        )
        self.children.append(redis)
        wait_for_port(port, redis)
        _uvicorn(
            self, "bench.apps.resumable:app", placement, str(self._python), BENCH_REDIS=f"redis://127.0.0.1:{port}"
        )

    def viewers(self) -> Target:
        return Target(self.port, "/events/%d")
