"""Sync iterators, consumed without the event loop ever waiting for them.

One thread per iterator, for its whole life: `next` and `close` run in the same thread, as generators with
thread-local state (database cursors, Django) need. What it makes goes through a bounded hand-over, so a model that is
faster than its consumer waits; it does not fill the memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

HANDOVER_ITEMS: Final = 64
"""Items made but not yet taken, per iterator. When full, the iterator's thread waits."""

CLOSE_WAIT_SECONDS: Final = 1.0
"""How long a consumer that stops waits for the iterator's own clean-up. One stuck in `next` is left to its thread."""

_log = logging.getLogger(__name__)


async def iterate_in_thread(source: Iterable[T], *, limit: int = HANDOVER_ITEMS) -> AsyncGenerator[T, None]:
    """Yield what a sync iterable yields, from a thread of its own.

    The consumer's context variables are visible to the iterator. What the iterator raises is raised here. When the
    consumer stops early, by `aclose` or cancellation, the iterator's `close` runs in its thread as soon as its
    current `next` returns.
    """
    handover: _Handover[T] = _Handover(source, limit)
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(handover.run,), name="holdfast-iterate", daemon=True
    )
    thread.start()
    try:
        while batch := await handover.take():
            for item in batch:
                yield item
    finally:
        await handover.stop()
    if handover.error is not None:
        raise handover.error


class _Handover(Generic[T]):
    """A bounded queue from one thread to one event loop. Everything mutable is guarded by `_changed`."""

    def __init__(self, source: Iterable[T], limit: int) -> None:
        self._source = source
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._done = False
        self._wake = asyncio.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        """The thread's work."""
        iterator: Any = None
        try:
            iterator = iter(self._source)
            for item in iterator:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._items) < self._limit or self._stopped)
                    if self._stopped:
                        break
                    self._items.append(item)
                    first = len(self._items) == 1
                if first:
                    self._notify()
        except Exception as e:  # noqa: BLE001  (raised again where the consumer is)
            self.error = e
        except BaseException as e:  # noqa: BLE001  (SystemExit in a model's thread must not end the event loop)
            self.error = RuntimeError(f"the iterator raised {type(e).__name__}")
            self.error.__cause__ = e
        finally:
            self._close(iterator)
            with self._changed:
                self._done = True
            self._notify()

    def _close(self, iterator: Any) -> None:
        # A stream object (openai.Stream) is closed itself; its iterator alone would leave the connection open.
        for closable in {id(o): o for o in (iterator, self._source)}.values():
            close = getattr(closable, "close", None)
            if callable(close):
                try:
                    close()
                except Exception as e:  # noqa: BLE001
                    if self.error is None and not self._stopped:
                        self.error = e
                    else:
                        _log.warning("closing a sync iterator failed", exc_info=e)

    def _notify(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop is closed: nobody waits any more
            with self._changed:
                self._stopped = True

    async def take(self) -> list[T]:
        """All that is there; waits while nothing is. Empty when the iterator is done. Cancelling loses nothing."""
        while True:
            with self._changed:
                if self._items:
                    batch = list(self._items)
                    self._items.clear()
                    self._changed.notify()
                    return batch
                if self._done:
                    return []
                self._wake.clear()
            await self._wake.wait()

    async def stop(self) -> None:
        """Make the thread close its iterator, and wait for that a bounded while."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        try:
            async with asyncio.timeout(CLOSE_WAIT_SECONDS):
                while True:
                    with self._changed:
                        if self._done:
                            return
                        self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            _log.debug("a sync iterator is still in next(); its thread closes it when that returns")
