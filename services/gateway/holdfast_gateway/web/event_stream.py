"""A viewer's response: `text/event-stream` with the gateway's own frames, by the fastest way out that there is."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast_gateway.runtime.api import Viewer

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class EventStream(Response):
    """Return it from a route for `Attached.viewer`. Sends the head, starts the viewer, ends when the viewer does.

    Where the server is ours (`web.handover`), the connection leaves the ASGI path after the head; everywhere else
    (another server, HTTP/1.0, a pipelined request, middleware that holds the head back) sse-starlette writes the same bytes.
    """

    def __init__(self, viewer: Viewer, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(None, 200, {**STREAM_HEADERS, **(headers or {})})
        self.viewer = viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError
