"""A viewer's response: `text/event-stream` with the gateway's own frames, by the fastest way out that there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from holdfast_gateway.runtime.api import Viewer
from holdfast_gateway.web.handover import Handle, handle_in
from holdfast_gateway.web.stream_asgi import FramedResponse

STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""What every event stream says, also one that is refused."""

_CLOSE: Final = (b"connection", b"close")


class EventStream(Response):
    """Return it from a route for `Attached.viewer`. Sends the head, starts the viewer, ends when the viewer does.

    Where the server is ours (`web.handover`), the connection leaves the ASGI path after the head; everywhere else
    (another server, HTTP/1.0, a pipelined request, middleware that holds the head back) sse-starlette writes the same
    bytes.
    """

    def __init__(self, viewer: Viewer, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(None, 200, {**STREAM_HEADERS, **(headers or {})})
        # An empty body's length is not the stream's.
        self.raw_headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        self.viewer = viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then everything the viewer gets. Cancelling it detaches the viewer."""
        handle = handle_in(scope)
        if handle is None:
            await self._framed(scope, receive, send, self.raw_headers)
            return
        try:
            head = [*self.raw_headers, _CLOSE]
            await send({"type": "http.response.start", "status": self.status_code, "headers": head})
            taken = self._take(handle)
        except BaseException:
            self.viewer.detach()
            raise
        if not taken:
            await self._framed(scope, receive, _without_head(send), head)

    def _take(self, handle: Handle) -> bool:
        if not (handle.possible and handle.begun):
            return False
        handle.take(self.viewer)
        return True

    async def _framed(self, scope: Scope, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        response = FramedResponse(self.viewer)
        response.raw_headers = headers
        await response(scope, receive, send)


def _without_head(send: Send) -> Send:
    """A `send` for a response whose head has been sent already."""

    async def body_only(message: Message) -> None:
        if message["type"] != "http.response.start":
            await send(message)

    return body_only
