"""The pass: a session's new frames to its viewers.

F1. A pass never awaits. It goes over the viewers in slices bounded in number and time and then lets the loop go on, so
    that a session with ten thousand viewers delays another one by a slice.
F2. A viewer gets everything new since its place in one write of bytes that it shares with all who stood there. What
    arrives during a pass is in the next one.
F3. A viewer whose buffer is full is passed over; its sink wakes it. Nothing is dropped: its place waits.
F4. A viewer before the ring is handed to the catch-up and comes back when it stands in the ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.log import Mark
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.core.session import SessionCore
from holdfast_gateway.runtime.counters import Counters
from holdfast_gateway.runtime.viewer import LiveViewer

if TYPE_CHECKING:
    from holdfast_gateway.runtime.catchup import CatchUp

SLICE_VIEWERS: Final = 500
SLICE_SECONDS: Final = 0.002
_CLOCK_EVERY: Final = 64


class FanOut:
    """The running viewers of one session."""

    __slots__ = (
        "_again",
        "_at",
        "_catchup",
        "_clock",
        "_core",
        "_counters",
        "_dirty",
        "_lag_bytes",
        "_loop",
        "_order",
        "_pass_tail",
        "_running",
        "_scheduled",
        "wrote",
    )

    def __init__(self, core: SessionCore, lag_bytes: int, counters: Counters, clock: Callable[[], float]) -> None:
        self._core = core
        self._lag_bytes = lag_bytes
        self._counters = counters
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._catchup: CatchUp | None = None
        self._running: dict[LiveViewer, None] = {}
        self._order: list[LiveViewer] = []
        self._dirty = False
        self._at = 0
        self._again = False
        self._pass_tail = core.log.tail
        self._scheduled = False
        self.wrote = True
        """Whether there was something for the viewers since whoever sends heartbeats last looked."""

    def bind(self, catchup: CatchUp) -> None:
        """Where viewers before the ring go."""
        self._catchup = catchup

    def __len__(self) -> int:
        return len(self._running)

    def viewers(self) -> list[LiveViewer]:
        """Those that run just now."""
        return list(self._running)

    def begin(self, viewer: LiveViewer) -> None:
        """The viewer's response has begun, or it is back from before the ring."""
        self._running[viewer] = None
        self._dirty = True
        self.serve(viewer)

    def forget(self, viewer: LiveViewer) -> None:
        """The viewer is gone, or before the ring."""
        if self._running.pop(viewer, viewer) is None:
            self._dirty = True

    def wake(self) -> None:
        """There are new frames, or an end to be told."""
        if not self._scheduled and self._running:
            self._scheduled = True
            self._at = 0
            self._loop.call_soon(self._slice)

    def serve(self, viewer: LiveViewer) -> None:
        """This one viewer now, without waiting for a pass."""
        core = self._core
        if viewer.mark is not core.log.tail:
            if not viewer.sink.writable:
                return
            made = core.log.since(viewer.mark)
            if made is None:
                self._behind(viewer)
                return
            viewer.sink.write(made[0])
            viewer.mark = made[1]
            self._counters.writes += 1
            self._counters.written_bytes += len(made[0].data)
            if viewer.mark is not core.log.tail:
                self._again = True  # a pass that is under way may have begun without this viewer
                self.wake()
                return
        if viewer.over(core):
            viewer.close(CloseReason.ENDED)

    def heartbeat(self, piece: Piece, part: int, parts: int) -> None:
        """A comment to every `parts`-th viewer that can take one."""
        for viewer in list(self._running)[part::parts]:
            sink = viewer.sink
            if sink.writable:
                sink.write(piece)

    def _slice(self) -> None:
        core, counters = self._core, self._counters
        log = core.log
        tail = log.tail
        if self._at == 0:
            if self._dirty:
                self._order = list(self._running)
                self._dirty = False
            self._again = False
            self._pass_tail = tail
            self.wrote = True
        order, at = self._order, self._at
        stop = min(len(order), at + SLICE_VIEWERS)
        by = self._clock() + SLICE_SECONDS if stop > _CLOCK_EVERY else 0.0
        over = core.over
        place: Mark | None = None
        piece: Piece | None = None
        end = tail
        writes = written = 0
        while at < stop:
            viewer = order[at]
            at += 1
            mark = viewer.mark
            if mark is not tail:
                sink = viewer.sink
                if sink.writable:
                    if mark is not place or piece is None:
                        made = log.since(mark)
                        if made is None:
                            self._behind(viewer)
                            continue
                        place = mark
                        piece, end = made
                    sink.write(piece)
                    viewer.mark = end
                    writes += 1
                    written += len(piece.data)
                    if end is not tail:
                        self._again = True
                        continue
                elif viewer.ended is None:
                    counters.skips += 1
                    if viewer.stalled(tail, self._lag_bytes):
                        viewer.close(CloseReason.LAGGING)
                    continue
            if over and not viewer.follow and viewer.ended is None:
                viewer.close(CloseReason.ENDED)
            if not at % _CLOCK_EVERY and self._clock() > by:
                break
        counters.writes += writes
        counters.written_bytes += written
        self._at = at
        if at < len(order):
            self._loop.call_soon(self._slice)
            return
        self._scheduled = False
        if self._again or log.tail is not self._pass_tail:
            self.wake()

    def _behind(self, viewer: LiveViewer) -> None:
        self.forget(viewer)
        if viewer.ended is None and self._catchup is not None:
            self._catchup.take(viewer)
