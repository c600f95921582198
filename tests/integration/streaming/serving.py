"""A real uvicorn with a real hub on a loop of one's choice, in a thread; and clients that see every byte."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from holdfast.wire import Cursor, Event, SessionKey, codec
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.ports import Appended
from holdfast_gateway.runtime.api import Attached, HubSettings, NothingLeft, Refused
from holdfast_gateway.runtime.hub import Hub
from holdfast_gateway.web.event_stream import EventStream
from holdfast_gateway.web.handover import HandoverProtocol

T = TypeVar("T")

WAYS: dict[str, Any] = {"handover": HandoverProtocol, "httptools": "httptools", "h11": "h11"}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Served:
    """Use as a context manager. `do` runs a coroutine on the server's loop."""

    def __init__(
        self,
        way: str = "handover",
        loop: str = "uvloop",
        *,
        settings: HubSettings | None = None,
        middleware: list[Middleware] | None = None,
        certificate: tuple[str, str] | None = None,
        keep_alive_seconds: int = 5,
    ) -> None:
        self._way, self._loop_name = way, loop
        self._settings = settings or HubSettings()
        self._middleware = middleware or []
        self._certificate = certificate
        self._keep_alive_seconds = keep_alive_seconds
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(20), "the server did not start"
        if self.error is not None:
            raise self.error
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the server does not stop"
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=LOOPS[self._loop_name]) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self.error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.source = MemorySource()
        self.hub = Hub(self.source, self._settings, dice=random.Random(7))
        routes = [Route("/s/{session}", self._events), Route("/plain", self._plain)]
        app = Starlette(routes=routes, middleware=self._middleware)
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = listener.getsockname()[1]
        certificate, key = self._certificate or (None, None)
        config = uvicorn.Config(
            app,
            http=WAYS[self._way],
            ws="none",
            lifespan="off",
            log_config=None,
            date_header=False,
            server_header=False,
            timeout_keep_alive=self._keep_alive_seconds,
            timeout_graceful_shutdown=3,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self.server = uvicorn.Server(config)
        async with self.hub:
            serving = asyncio.create_task(self.server._serve([listener]))
            while not self.server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            self._ready.set()
            await self._stop.wait()
            await self.hub.drain(0.0)
            self.server.should_exit = True
            await serving
        await self.source.close()
        assert self.hub.counters.failures == 0

    async def _plain(self, request: Request) -> Response:
        return PlainTextResponse("plain")

    async def _events(self, request: Request) -> Response:
        last = request.headers.get("last-event-id")
        query = request.query_params
        outcome = await self.hub.attach(
            SessionKey.of(request.path_params["session"]),
            cursor=Cursor.parse(last) if last else None,
            start="now" if query.get("from") == "now" else "start",
            follow="follow" in query,
            snapshot="snapshot" in query,
            wait_seconds=5.0,
        )
        if isinstance(outcome, Attached):
            return EventStream(outcome.viewer)
        if isinstance(outcome, NothingLeft):
            return Response(status_code=204)
        assert isinstance(outcome, Refused)
        return Response(outcome.body, media_type="text/event-stream")

    # ------------------------------------------------------------------------------------------ for tests

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def append(self, session: str, draft: codec.Draft) -> int:
        result = self.do(self.source.append(SessionKey.of(session), draft, None))
        assert isinstance(result, Appended)
        return result.sequence

    def start(self, session: str) -> int:
        return self.append(session, codec.start("w", lease_seconds=30))

    def say(self, session: str, *texts: str | bytes) -> int:
        events = [Event(text.encode() if isinstance(text, str) else text) for text in texts]
        return self.append(session, codec.data(events))

    def end(self, session: str) -> int:
        return self.append(session, codec.end(None, None))

    def until(self, what: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something that the server does by itself."""
        by = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < by, "it does not happen"
            time.sleep(0.005)


class Wire:
    """One connection, byte by byte."""

    def __init__(self, served: Served, *, receive_bytes: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.socket()
        if receive_bytes is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.settimeout(10)
        plain.connect(("127.0.0.1", served.port))
        self.socket = tls.wrap_socket(plain, server_hostname="localhost") if tls is not None else plain
        self.received = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def get(self, path: str, *headers: str, version: str = "1.1", method: str = "GET") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: test", *headers]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def read_until(self, what: bytes) -> None:
        """Read until this has come, now or before."""
        at = 0
        while self.received.find(what, at) < 0:
            at = max(0, len(self.received) - len(what))
            data = self.socket.recv(1 << 18)
            assert data, f"ended after {bytes(self.received[-200:])!r}"
            self.received += data

    def read_to_end(self) -> None:
        while data := self.socket.recv(1 << 18):
            self.received += data

    @property
    def head(self) -> bytes:
        return bytes(self.received.partition(b"\r\n\r\n")[0])

    @property
    def body(self) -> bytes:
        """The response's content: chunks joined, if it is chunked."""
        head, _, body = self.received.partition(b"\r\n\r\n")
        return unchunk(body) if b"transfer-encoding: chunked" in head.lower() else bytes(body)


def unchunk(body: bytearray) -> bytes:
    """Join chunks; the last one may be missing."""
    content, at = bytearray(), 0
    while at < len(body):
        line = body.find(b"\r\n", at)
        length = int(body[at:line], 16)
        content += body[line + 2 : line + 2 + length]
        at = line + 4 + length
    return bytes(content)
