"""The fast way out: after the response's head a viewer's connection leaves uvicorn's per-message path.

uvicorn keeps for every open response a parser, a request cycle, a task and its own protocol object, and takes every
write through a coroutine. A stream that only ever writes needs none of that: the transport gets a small protocol of
ours (as uvicorn itself does for WebSocket upgrades), the request's task ends, and what the pass writes goes straight
to the transport, framed as HTTP/1.1 chunks once for all viewers.

H1. Only after the head has really been written: middleware may hold it back, and then the ASGI path goes on.
H2. Only where nothing else is on the connection: HTTP/1.1, a whole GET request, nothing pipelined behind it.
H3. The connection ends with the stream, and says so in its head (`Connection: close`): nobody is left to parse a next
    request.
H4. uvicorn lets go entirely: its set of connections, its timers and its cycle. It sees a stream again only while the
    last bytes are flushed, so that its shutdown waits for them.
H5. Everything here looks at uvicorn from outside; where it is not as expected, the ASGI path is taken.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.pieces import LAST_CHUNK, Piece
from holdfast_gateway.runtime.api import Viewer

EXTENSION: Final = "holdfast.handover"

WRITE_MARK_BYTES: Final = 64 * 1024
"""Above this much unsent data a viewer is not written to."""

WRITE_LOW_BYTES: Final = 16 * 1024
FLUSH_SECONDS: Final = 10.0
"""How long the last bytes of a stream may take before the connection is cut."""


class HandoverProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a handle to it in the scope. Give it to `uvicorn.Config(http=...)`."""

    def on_headers_complete(self) -> None:
        """A request's head is parsed."""
        handle = Handle(self)
        extensions = cast(dict[str, Any], self.scope).setdefault("extensions", {})
        extensions[EXTENSION] = handle
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            handle.cycle = self.cycle


class Handle:
    """One request's way to its connection. Gone from the connection when the request is."""

    __slots__ = ("_protocol", "cycle")

    def __init__(self, protocol: HandoverProtocol) -> None:
        self._protocol = protocol
        self.cycle: RequestResponseCycle | None = None

    @property
    def possible(self) -> bool:
        """Whether this request has the connection to itself (H2)."""
        protocol, cycle = self._protocol, self.cycle
        return (
            cycle is not None
            and protocol.cycle is cycle
            and not protocol.pipeline
            and not cycle.disconnected
            and not cycle.response_complete
            and not cycle.more_body
            and cycle.scope["http_version"] == "1.1"
            and cycle.scope["method"] == "GET"
            and not protocol.transport.is_closing()
        )

    @property
    def begun(self) -> bool:
        """Whether the head is out, as a body of chunks (H1)."""
        cycle = self.cycle
        return cycle is not None and bool(cycle.response_started) and bool(cycle.chunked_encoding)

    def take(self, viewer: Viewer) -> None:
        """Put the connection under the viewer and make uvicorn let go of it."""
        protocol, cycle = self._protocol, self.cycle
        assert cycle is not None
        transport = protocol.transport
        protocol._unset_keepalive_if_required()
        protocol.connections.discard(protocol)
        protocol.server_state.total_requests += 1
        protocol.flow.resume_reading()
        cycle.disconnected = True  # for uvicorn the request is over when its task returns
        stream = StreamProtocol(transport, viewer, protocol.connections, protocol.flow.write_paused)
        transport.set_protocol(stream)
        transport.set_write_buffer_limits(high=WRITE_MARK_BYTES, low=WRITE_LOW_BYTES)
        # What is left of the request refers to itself in circles; cut them, so that nothing waits for the collector.
        protocol.parser = None  # type: ignore[assignment]
        protocol.cycle = None  # type: ignore[assignment]
        protocol.scope = None  # type: ignore[assignment]
        protocol.headers = None  # type: ignore[assignment]
        protocol.transport = None  # type: ignore[assignment]
        cycle.message_event.set()
        self.cycle = None
        viewer.start(stream)


class StreamProtocol(asyncio.Protocol):
    """A viewer's connection: a `runtime.api.Sink` that writes to the transport. Slots only: there are thousands."""

    __slots__ = ("_connections", "_cut", "_transport", "_viewer", "writable")

    def __init__(
        self, transport: asyncio.Transport, viewer: Viewer, connections: set[Any], paused: bool = False
    ) -> None:
        self._transport = transport
        self._viewer: Viewer | None = viewer
        self._connections = connections
        self._cut: asyncio.TimerHandle | None = None
        self.writable = not paused

    # ------------------------------------------------------------------------------------------ the sink

    def write(self, piece: Piece) -> None:
        """See `runtime.api.Sink`."""
        self._transport.write(piece.chunk)

    def close(self, reason: CloseReason) -> None:
        """See `runtime.api.Sink`. What is buffered is sent within `FLUSH_SECONDS`, or the connection is cut."""
        self.writable = False
        self._viewer = None
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(LAST_CHUNK)
        transport.close()
        self._connections.add(self)
        self._cut = asyncio.get_running_loop().call_later(FLUSH_SECONDS, transport.abort)

    # ------------------------------------------------------------------------------------------ the transport

    def pause_writing(self) -> None:
        """More than the write mark is buffered."""
        self.writable = False

    def resume_writing(self) -> None:
        """The viewer has read on."""
        viewer = self._viewer
        if viewer is not None:
            self.writable = True
            viewer.resume()

    def data_received(self, data: bytes) -> None:
        """Nothing that a client says during its response is answered (H3)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, from either side."""
        self.writable = False
        viewer, self._viewer = self._viewer, None
        self._connections.discard(self)
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        if viewer is not None:
            viewer.detach()

    # ------------------------------------------------------------------------------------------ uvicorn's shutdown

    def shutdown(self) -> None:
        """uvicorn asks at its shutdown, while the last bytes go out (H4). They do by themselves."""


def handle_in(scope: Scope) -> Handle | None:
    """The handle of this request, if its server is ours and the connection can be taken."""
    handle = (scope.get("extensions") or {}).get(EXTENSION)
    return handle if isinstance(handle, Handle) and handle.possible else None
