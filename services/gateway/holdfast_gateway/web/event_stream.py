"""A viewer's response: `text/event-stream` with the gateway's own frames, by the fastest way out that there is."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast_gateway.runtime.api import Viewer
from holdfast_gateway.web.stream_asgi import FramedResponse

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""What every event stream says, also one that is refused."""


class EventStream(Response):
    """Return it from a route for `Attached.viewer`. Sends the head, starts the viewer, ends when the viewer does.

    Where the server is ours (`web.handover`), the connection leaves the ASGI path after the head; everywhere else
    (another server, HTTP/1.0, a pipelined request, middleware that holds the head back) sse-starlette writes the same
    bytes.
    """

    media_type = "text/event-stream"

    def __init__(self, viewer: Viewer, headers: Mapping[str, str] | None = None) -> None:
        self._framed = FramedResponse(viewer, headers)
        self.viewer = viewer
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers = self._framed.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then everything the viewer gets."""
        # Headers set on this object after it was made (CORS, FastAPI's own response) are on the same list.
        self._framed.raw_headers = self.raw_headers
        await self._framed(scope, receive, send)
