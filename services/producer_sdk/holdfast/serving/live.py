"""One reader per session and process, however many viewers: they share its records and each is a place in them."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from holdfast.serving.records import Position, Record
from holdfast.serving.store import SessionStore

RING_BYTES: Final = 1024 * 1024
"""Of one session that is watched, in this process. A viewer further behind reads from the storage until it is not."""

_log = logging.getLogger(__name__)


class LiveSession:
    """What one reader has read lately, and who waits for more."""

    def __init__(self, store: SessionStore, session_id: str, run: str, after: Position, ring_bytes: int) -> None:
        self._store = store
        self._session_id = session_id
        self._run = run
        self._ring_bytes = ring_bytes
        self._records: list[Record] = []
        self._size_bytes = 0
        self._changed = asyncio.Event()
        self._error: BaseException | None = None
        self._done = False
        self.base = after
        self.viewers = 0
        self._task = asyncio.get_running_loop().create_task(self._read(after))
        self._task.add_done_callback(self._ended)

    async def _read(self, after: Position) -> None:
        async with aclosing(self._store.follow(self._session_id, self._run, after)) as batches:
            async for batch in batches:
                self._add(batch)

    def _add(self, batch: list[Record]) -> None:
        self._records += batch
        self._size_bytes += sum(r.size_bytes for r in batch)
        keep = 0
        while self._size_bytes > self._ring_bytes and keep < len(self._records) - 1:
            self._size_bytes -= self._records[keep].size_bytes
            keep += 1
        if keep:
            self.base = self._records[keep - 1].position
            del self._records[:keep]
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._done = True
        self._error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._wake()

    async def after(self, position: Position) -> list[Record]:
        """The records after a position that is not before `base`; waits for one. Empty when there will be none.

        Raises what the reader raised. Cancelling loses nothing.
        """
        while position >= self.base:
            start = bisect_right(self._records, position, key=lambda r: r.position)
            if start < len(self._records):
                return self._records[start:]
            if self._error is not None and not isinstance(self._error, asyncio.CancelledError):
                raise self._error
            if self._done:
                return []
            await self._changed.wait()
        return []

    @property
    def failed(self) -> bool:
        return self._error is not None

    async def aclose(self) -> None:
        while not self._task.done():
            # More than once: `wait_for` of Python 3.11, which storages' clients use, can swallow a cancellation.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.05)


class LiveSessions:
    """The sessions that are being watched in this process."""

    def __init__(self, store: SessionStore, *, ring_bytes: int = RING_BYTES) -> None:
        self._store = store
        self._ring_bytes = ring_bytes
        self._sessions: dict[tuple[str, str], LiveSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def watch(self, session_id: str, run: str, after: Position) -> AsyncGenerator[Record, None]:
        """Yield a viewer's records up to the terminal. Its leaving stops nothing for others."""
        live = self._sessions.get((session_id, run))
        if live is None or live.failed:
            live = LiveSession(self._store, session_id, run, after, self._ring_bytes)
            self._sessions[session_id, run] = live
        live.viewers += 1
        try:
            while True:
                if after < live.base:
                    async with aclosing(self._catch_up(session_id, run, after, live)) as records:
                        async for record in records:
                            yield record
                            if record.terminal:
                                return
                            after = record.position
                    continue
                batch = await live.after(after)
                if not batch and after >= live.base:
                    return
                for record in batch:
                    yield record
                    if record.terminal:
                        return
                    after = record.position
        finally:
            live.viewers -= 1
            if not live.viewers:
                if self._sessions.get((session_id, run)) is live:
                    del self._sessions[session_id, run]
                await live.aclose()

    async def _catch_up(
        self, session_id: str, run: str, after: Position, live: LiveSession
    ) -> AsyncGenerator[Record, None]:
        async with aclosing(self._store.follow(session_id, run, after)) as batches:
            async for batch in batches:
                for record in batch:
                    yield record
                if batch and batch[-1].position >= live.base:
                    return

    async def aclose(self) -> None:
        for live in list(self._sessions.values()):
            await live.aclose()
        self._sessions.clear()
