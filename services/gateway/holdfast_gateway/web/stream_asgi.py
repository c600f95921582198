"""The way out through ASGI: sse-starlette's response, fed with frames that are ready.

Works under any server. One piece is on its way at a time; while it is, the sink is not writable, so what comes
meanwhile waits in the session's log and goes out together. `send` waits for the server's own write buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping

import uvicorn
from starlette.types import Receive, Scope, Send

_SERVER_HANDLE_EXIT = uvicorn.Server.handle_exit

from sse_starlette.sse import AppStatus, EventSourceResponse  # noqa: E402

from holdfast_gateway.core.close_reasons import CloseReason  # noqa: E402
from holdfast_gateway.core.pieces import Piece  # noqa: E402
from holdfast_gateway.runtime.api import Viewer  # noqa: E402


def undo_signal_patch() -> None:
    """Importing sse-starlette replaces uvicorn's `Server.handle_exit` in the whole process, so that its streams end
    at a signal. Ours are ended by the drain. Idempotent."""
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
    uvicorn.Server.handle_exit = AppStatus.original_handler or _SERVER_HANDLE_EXIT  # type: ignore[method-assign]


undo_signal_patch()


class AsgiSink:
    """A `runtime.api.Sink` that is read as an async iterator of bytes. One reader."""

    __slots__ = ("_closed", "_pieces", "_viewer", "_waiter", "writable")

    def __init__(self, viewer: Viewer) -> None:
        self.writable = True
        self._viewer = viewer
        self._pieces: deque[Piece] = deque()
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def write(self, piece: Piece) -> None:
        """See `runtime.api.Sink`."""
        self.writable = False
        self._pieces.append(piece)
        self._wake()

    def close(self, reason: CloseReason) -> None:
        """See `runtime.api.Sink`."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Frames as they come; ends when the viewer does. The viewer is detached however this ends."""
        try:
            while True:
                while self._pieces:
                    yield self._pieces.popleft().data
                if self._closed:
                    return
                self.writable = True
                self._viewer.resume()
                if not self._pieces and not self._closed:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        finally:
            self._viewer.detach()


class FramedResponse(EventSourceResponse):
    """sse-starlette's response without its pings and without its watch for signals: heartbeats and drain are ours."""

    def __init__(self, viewer: Viewer, headers: Mapping[str, str] | None = None) -> None:
        self.viewer = viewer
        self.sink = AsgiSink(viewer)
        self._frames = self.sink.frames()
        super().__init__(self._frames, headers=headers, ping=0)

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        await asyncio.get_running_loop().create_future()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then everything the viewer gets. Returns when the stream has ended or the client has gone."""
        try:
            if scope["method"] != "HEAD":
                self.viewer.start(self.sink)
            await super().__call__(scope, receive, send)
        finally:
            self.viewer.detach()
            await self._frames.aclose()
