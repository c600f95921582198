"""What the harness asks of a system under test."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bench.loadclient import BUILD, Target
from bench.placement import Placement
from bench.process import Child, free_port


class System(ABC):
    """One system; started fresh for each run, so that none inherits another run's memory.

    Attributes:
        name: Its name in results.
        way: How it is published to (``bench.publish.ways``).
        cells: The cells it can take part in.
        absent: Why it takes no part in the others, by cell.
        backed: Whether it has a process behind it, so that placements differ.
    """

    name: ClassVar[str]
    way: ClassVar[str]
    cells: ClassVar[frozenset[str]]
    absent: ClassVar[Mapping[str, str]] = {}
    backed: ClassVar[bool] = False

    def __init__(self) -> None:
        """Start nothing yet."""
        self.children: list[Child] = []
        self.port = 0
        self.first = 0
        self._next_first = 0
        self._directory: Path | None = None

    @abstractmethod
    def install(self) -> None:
        """Make it runnable here; may take minutes the first time.

        Raises:
            BenchError: it cannot be installed on this machine.
        """

    @abstractmethod
    def version(self) -> str:
        """Return its version, as its own program or package tells it."""

    @abstractmethod
    def start(self, placement: Placement) -> None:
        """Start it, listening on :attr:`port`."""

    @abstractmethod
    def viewers(self) -> Target:
        """Return where viewers of live events go."""

    def replayers(self) -> Target:
        """Return where viewers go that want everything from the start."""
        return self.viewers()

    def publish_target(self) -> dict[str, Any]:
        """Return what the publisher process needs to know."""
        return {"port": self.port, "first": self.first}

    def next_round(self, sessions: int) -> None:
        """Give the next measurement session numbers nobody has used: a log would replay the last one's events."""
        self.first = self._next_first
        self._next_first += sessions

    def stop(self) -> None:
        """End all its processes and remove its files."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def scratch(self) -> Path:
        """Return a directory for this run's files."""
        if self._directory is None:
            BUILD.mkdir(exist_ok=True)
            self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=BUILD))
            self._directory.chmod(0o755)
        return self._directory

    def new_port(self) -> int:
        """Take a free port for viewers."""
        self.port = free_port()
        return self.port
