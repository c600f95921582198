"""uvicorn, with an orderly end.

uvicorn stops by closing its listeners, waiting for every connection to end, and only then telling the application.
An event stream does not end by itself, so that order never gets to its last step. Here the viewers are sent away
first (`drain`), while new ones are still answered, and the rest follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

import uvicorn

from holdfast_gateway.settings import Settings

log = logging.getLogger("holdfast")


class GatewayServer(uvicorn.Server):
    """A server that drains before it shuts down, and returns from a signal instead of dying of it.

    `drain` is awaited after the first SIGINT or SIGTERM, for at most `drain_grace_seconds`; a second Ctrl-C, or
    `hurry()`, ends it at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain: Callable[[], Awaitable[None]] | None = None,
        drain_grace_seconds: float = 0.0,
        owns_signals: bool = True,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._drain = drain
        self._drain_grace_seconds = drain_grace_seconds
        self._owns_signals = owns_signals
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Stop now: no drain, no waiting for connections."""
        self.should_exit = True
        self.force_exit = True
        self._hurry.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain and stop. A second Ctrl-C: stop now."""
        if self.should_exit and sig == signal.SIGINT:
            self.hurry()
        else:
            self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's, does not raise the signal again at the end: an orderly stop exits with 0."""
        if not self._owns_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_started is not None and self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._drain is not None and not self.force_exit:
            await self._drained(self._drain)
        await super().shutdown(sockets)

    async def _drained(self, drain: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await drain()

        draining = asyncio.create_task(run(), name="drain")
        hurried = asyncio.create_task(self._hurry.wait(), name="drain-hurry")
        try:
            await asyncio.wait(
                (draining, hurried), timeout=self._drain_grace_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if draining.done():
                draining.result()
            else:
                log.warning("not all viewers were sent away in time; cutting the rest")
        except Exception:
            log.exception("draining failed; cutting what is left")
        finally:
            hurried.cancel()
            draining.cancel()
            await asyncio.gather(draining, hurried, return_exceptions=True)


def config_for(app: object, settings: Settings, *, http: type[asyncio.Protocol] | str = "httptools") -> uvicorn.Config:
    """uvicorn's configuration for the viewers' port."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,
        backlog=settings.backlog,
        timeout_graceful_shutdown=1,
    )


def admin_server(app: object) -> GatewayServer:
    """The admin port's server: stops when it is told to, without signals of its own."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return GatewayServer(config, owns_signals=False)
