"""An admitted viewer: a place, and once its response has begun, a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.wire import SessionKey
from holdfast_gateway.core import sse
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.log import Mark
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.core.viewer import Place
from holdfast_gateway.runtime.api import Sink

if TYPE_CHECKING:
    from holdfast_gateway.runtime.session import LiveSession

FAREWELLS = {reason: Piece(sse.farewell(reason)) for reason in CloseReason}


class _NoSink:
    """Where a viewer that has no connection writes: nowhere."""

    __slots__ = ()
    writable = False

    def write(self, piece: Piece) -> None: ...

    def close(self, reason: CloseReason) -> None: ...


NO_SINK = _NoSink()


class LiveViewer(Place):
    """Admitted, then running, then ended; the session knows in which of its sets it is.

    `prelude` is what this viewer alone gets before the shared frames. `ended` is the reason once there is one.
    """

    __slots__ = ("__weakref__", "_session", "ended", "prelude", "sink", "started")

    def __init__(self, session: LiveSession, mark: Mark, follow: bool, prelude: bytes) -> None:
        super().__init__(mark, follow)
        self._session = session
        self.prelude = prelude
        self.sink: Sink = NO_SINK
        self.started = False
        self.ended: CloseReason | None = None

    @property
    def key(self) -> SessionKey:
        return self._session.key

    def start(self, sink: Sink) -> None:
        """See `runtime.api.Viewer`."""
        if self.started:
            raise RuntimeError("a viewer is started once")
        self.started = True
        if self.ended is not None:  # let go before its head was out
            sink.write(FAREWELLS[self.ended])
            sink.close(self.ended)
            return
        self.sink = sink
        prelude, self.prelude = self.prelude, b""
        sink.write(Piece(prelude))
        self._session.begun(self)

    def resume(self) -> None:
        """See `runtime.api.Viewer`."""
        if self.ended is None:
            self.flows()
            self._session.fanout.serve(self)

    def close(self, reason: CloseReason) -> None:
        """See `runtime.api.Viewer`."""
        if self.ended is not None:
            return
        sink = self._leave(reason)
        sink.write(FAREWELLS[reason])
        sink.close(reason)

    def detach(self) -> None:
        """See `runtime.api.Viewer`."""
        if self.ended is None:
            self._leave(CloseReason.GONE)

    def _leave(self, reason: CloseReason) -> Sink:
        self.ended = reason
        sink, self.sink = self.sink, NO_SINK
        self._session.left(self, reason)
        return sink
