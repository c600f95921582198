"""Drives one session's `Order`: does the I/O it needs, one request at a time, and passes on what comes.

Shared by every adapter, so the in-memory source heals holes exactly as the real one does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from holdfast.wire import Record
from holdfast_gateway.core.order import DEFAULT_HOLD_BYTES, Need, Order
from holdfast_gateway.ports import FeedSink, Page, SourceUnavailable

log = logging.getLogger(__name__)

PAGE_RECORDS = 64
"""Small pages: a replica blocks its stream's writes while it answers one (ack p99 16 ms at 10, 90 ms unbounded)."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class FeedInput(Protocol):
    """What a feed asks of its adapter. All may raise `SourceUnavailable`; all may be cancelled."""

    async def subscribe(self) -> None:
        """Have live records passed to `FeedDriver.on_live`, and return when the broker knows."""

    async def page(self, start: int) -> Page:
        """At most `PAGE_RECORDS` records from sequence `start`, inclusive, from any replica."""

    async def beyond(self, last: int) -> tuple[bool, Record | None]:
        """From the leader: whether sequence `last` is still this session's, and its first record above it."""

    def unsubscribe(self) -> None:
        """Stop passing on live records, at once. Idempotent."""


class FeedDriver:
    """A running feed. `close` ends it; after that the sink is never called again."""

    __slots__ = ("_closed", "_input", "_on_close", "_sink", "_spawn", "_task", "_wake", "order")

    def __init__(
        self,
        sink: FeedSink,
        source: FeedInput,
        spawn: Spawn,
        *,
        after: int = 0,
        hold_bytes: int = DEFAULT_HOLD_BYTES,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._sink = sink
        self._input = source
        self._spawn = spawn
        self._on_close = on_close
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None
        self._closed = False
        self.order = Order(sink, after=after, hold_bytes=hold_bytes)
        self._go()

    # -------------------------------------------------------------------------------------------- from below

    def on_live(self, record: Record, body_bytes: int) -> None:
        """A live record, in any order and any number of times."""
        order = self.order
        try:
            order.live(record, body_bytes)
        except Exception:  # the sink's: what it has missed now would be missed in silence
            log.exception("a bug ended the feed of a session")
            self.on_gone("internal error")
            return
        if self._task is None and not order.flowing:
            self._go()

    def on_newest(self, sequence: int) -> None:
        """A tail check found this sequence."""
        self.order.newest(sequence)
        self._go()

    def on_trouble(self, *, recheck: bool) -> None:
        """A reconnect (`recheck`), or a request on this session's stream that failed."""
        if self._closed:
            return
        self._sink.on_trouble()
        if recheck and not self._closed:
            self.order.trouble()
            if self._wake is not None:
                self._wake.set()
            self._go()

    def on_gone(self, reason: str) -> None:
        """The stream is no longer the one this feed began on."""
        if not self._closed:
            self.close()
            self._sink.on_gone(reason)

    # -------------------------------------------------------------------------------------------- from above

    def close(self) -> None:
        """Stop at once. Idempotent; may be called from within a call to the sink."""
        if self._closed:
            return
        self._closed = True
        self.order.close()
        self._input.unsubscribe()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._on_close is not None:
            self._on_close()

    # -------------------------------------------------------------------------------------------- the work

    def _go(self) -> None:
        if self._task is None and self.order.need is not Need.NOTHING:
            self._task = self._spawn(self._work())

    async def _work(self) -> None:
        try:
            await self._until_in_order()
        except Exception:
            log.exception("a bug ended the feed of a session")
            self._task = None
            self.on_gone("internal error")
            return
        if self._task is asyncio.current_task():
            self._task = None
            self._go()

    async def _until_in_order(self) -> None:
        order = self.order
        while (need := order.need) is not Need.NOTHING:
            if order.delay_seconds:
                await self._pause(order.delay_seconds)
            try:
                if need is Need.SUBSCRIBE:
                    await self._input.subscribe()
                    order.subscribed()
                elif need is Need.PAGE:
                    start = order.start
                    page = await self._input.page(max(start, 1))
                    order.page(start, page.records, page.pending)
                else:
                    at = order.last
                    present, following = await self._input.beyond(at)
                    order.confirmed(at, present, following)
            except SourceUnavailable:
                order.failed()
                self.on_trouble(recheck=False)

    async def _pause(self, seconds: float) -> None:
        """Wait, or be woken by a reconnect, after which trying again is worth while at once."""
        self._wake = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._wake = None
