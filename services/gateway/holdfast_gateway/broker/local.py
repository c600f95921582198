"""What a server on this machine needs of it: a directory to itself and a free port."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import IO


class EmbeddedServerError(Exception):
    """The embedded server cannot run. The text says why and what to do."""

    retryable = False


class DirectoryLock:
    """One process at a time uses a directory. The kernel drops the lock with the process, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Raises `EmbeddedServerError` naming the process that has it."""
        lock = (self._directory / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            lock.seek(0)
            owner = lock.read(32).strip() or "unknown"
            lock.close()
            if failure.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise EmbeddedServerError(
                f"the store in {self._directory} is in use by another Holdfast (process {owner}): "
                "stop that one, or choose another directory"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._file = lock

    def release(self) -> None:
        """Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str) -> int:
    """A port that the system had free a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
