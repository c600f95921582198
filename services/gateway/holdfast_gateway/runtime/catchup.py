"""Viewers that stand before the ring: read the broker's log for them, page by page, until the ring has them.

One owned task per session at most, whatever the number of viewers; those who stand at one place share its page. A
page is written only to viewers that can take it: a slow one costs a place in a dictionary.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from holdfast.wire import Record
from holdfast.wire.run import NEW, RunState, fold
from holdfast_gateway.core import sse
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.core.replay import Anchor, anchor, replay
from holdfast_gateway.ports import Located, SourceUnavailable
from holdfast_gateway.runtime.viewer import LiveViewer

if TYPE_CHECKING:
    from holdfast_gateway.runtime.session import LiveSession

CACHED_PAGES: Final = 8
CACHED_BYTES: Final = 4 * 1024 * 1024
PATIENCE: Final = 5
"""Fruitless reads of one page in a row before the leader decides what is there."""

FIRST_RETRY_SECONDS: Final = 0.01
LAST_RETRY_SECONDS: Final = 1.0
_WRITES_AT_ONCE: Final = 100


class _Page:
    """What viewers at one place get next, and the sequence it leads to."""

    __slots__ = ("gap", "last", "piece")

    def __init__(self, data: bytes, last: int, gap: str | None = None) -> None:
        self.piece = Piece(data) if data else None
        self.last = last
        self.gap = gap


class CatchUp:
    """The viewers of one session that read from the broker."""

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self._viewers: dict[LiveViewer, None] = {}
        self._pages: OrderedDict[int, _Page] = OrderedDict()
        self._pages_bytes = 0
        self._running = False

    def __len__(self) -> int:
        return len(self._viewers)

    def viewers(self) -> list[LiveViewer]:
        """Those that read from the broker just now."""
        return list(self._viewers)

    def take(self, viewer: LiveViewer) -> None:
        """This viewer stands before the ring."""
        self._viewers[viewer] = None
        self.wake()

    def forget(self, viewer: LiveViewer) -> None:
        """The viewer is gone."""
        self._viewers.pop(viewer, None)

    def clear(self) -> None:
        """Forget pages: what they hold must not be sent any more."""
        self._pages.clear()
        self._pages_bytes = 0

    def wake(self) -> None:
        """A viewer can take a page."""
        if not self._running and any(v.sink.writable for v in self._viewers):
            self._running = True
            self._session.tasks.spawn(self._run())

    def close_lagging(self, lag_bytes: int) -> None:
        """Close those that read nothing while too much came in."""
        tail = self._session.core.log.tail
        for viewer in list(self._viewers):
            if not viewer.sink.writable and viewer.stalled(tail, lag_bytes):
                viewer.close(CloseReason.LAGGING)

    async def _run(self) -> None:
        try:
            while (viewer := next((v for v in self._viewers if v.sink.writable), None)) is not None:
                after = viewer.mark.sequence
                page = await self._page(after)
                await self._hand_out(after, page)
        finally:
            self._running = False

    async def _hand_out(self, after: int, page: _Page) -> None:
        core, counters = self._session.core, self._session.counters
        mark = core.place(page.last)
        writes = 0
        for viewer in list(self._viewers):
            if viewer.mark.sequence != after or viewer.ended is not None or not viewer.sink.writable:
                continue
            if page.gap is not None:
                counters.gaps[page.gap] += 1
            viewer.mark = mark
            if page.piece is not None:
                viewer.sink.write(page.piece)
                counters.writes += 1
                counters.written_bytes += len(page.piece.data)
            if core.log.covers(mark.sequence):
                self._viewers.pop(viewer, None)
                self._session.fanout.begin(viewer)
            else:  # to the end of the line: others may have waited longer
                self._viewers.pop(viewer, None)
                self._viewers[viewer] = None
            writes += 1
            if not writes % _WRITES_AT_ONCE:
                await asyncio.sleep(0)
                mark = core.place(page.last)

    async def _page(self, after: int) -> _Page:
        known = self._pages.get(after)
        if known is not None:
            return known
        delay, fruitless = FIRST_RETRY_SECONDS, 0
        while True:
            try:
                page = await self._read(after, fruitless >= PATIENCE)
            except SourceUnavailable:
                self._session.on_trouble()
                page, fruitless = None, 0
            if page is not None:
                break
            fruitless += 1
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY_SECONDS)
        self._session.counters.replay_pages += 1
        if page.piece is not None and page.gap is None:
            self._pages[after] = page
            self._pages_bytes += len(page.piece.data)
            while len(self._pages) > CACHED_PAGES or self._pages_bytes > CACHED_BYTES:
                _, old = self._pages.popitem(last=False)
                self._pages_bytes -= len(old.piece.data) if old.piece is not None else 0
        return page

    async def _read(self, after: int, impatient: bool) -> _Page | None:
        """The page behind `after`; None: not now, try again."""
        session = self._session
        core = session.core
        if core.log.covers(after):
            return _Page(b"", after)
        if after < core.erased_at - 1:
            return _Page(self._gap("erased", after, core.erased_at), core.erased_at - 1, "erased")
        page = await session.source.read(session.key, after, session.settings.page_records)
        records = page.records
        joined = anchor(after, records)
        lost = joined is Anchor.HOLE
        if joined is not Anchor.JOINED and joined is not Anchor.ASK and not impatient:
            return None  # a replica that is behind, or damaged: another one may answer next
        if joined is Anchor.EMPTY and after == 0:
            return self._skip_to_ring(after)
        if joined is Anchor.ASK or joined is Anchor.EMPTY:
            located = await session.source.locate(session.key, core.incarnation, after)
            lost = located not in (Located.PRESENT, Located.CLEAN)
            if joined is Anchor.EMPTY and lost:
                return self._skip_to_ring(after)
            if joined is Anchor.EMPTY or located is Located.PRESENT:
                return None
        if after < core.erased_at - 1:  # erased while we asked
            return None
        first = next(record.sequence for record in records if record.sequence > after)
        if first > core.tail:
            return self._skip_to_ring(after)
        state = core.history.before(first if lost else after + 1)
        if state is None:
            state = await self.state_behind(first - 1 if lost else after)
        made = replay(core.incarnation, state, after, core.tail, records)
        data = self._gap("trimmed", after, first) + made.data if lost else made.data
        return _Page(data, made.last, "trimmed" if lost else None)

    def _skip_to_ring(self, after: int) -> _Page:
        core = self._session.core
        return _Page(self._gap("trimmed", after, core.log.before.sequence + 1), core.log.before.sequence, "trimmed")

    def _gap(self, reason: str, after: int, earliest: int) -> bytes:
        core = self._session.core
        return sse.gap(reason, core.cursor(after), core.cursor(earliest), core.cursor(core.tail))

    async def state_behind(self, sequence: int) -> RunState:
        """A state that the history has forgotten: fold the log from its beginning."""
        session, state, place = self._session, NEW, 0
        while place < sequence:
            page = await session.source.read(session.key, place + 1, session.settings.page_records)
            records: list[Record] = [r for r in page.records if r.sequence <= sequence]
            state = fold(records, state)
            if not records or page.exhausted or len(records) < len(page.records):
                break
            place = records[-1].sequence
        return state
