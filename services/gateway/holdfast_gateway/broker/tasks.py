"""The tasks of one adapter: each has an owner that sees it fail, and all end with the adapter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """Starts tasks, reports what they raise, cancels what is left. Not for work whose failure somebody awaits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start it. A task that raises is a bug in it: logged with its traceback, and counted by nobody's silence."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}: {getattr(work, '__qualname__', work)}")
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel all and wait for them. Idempotent."""
        mine = [t for t in self._running if t is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        if mine:
            await asyncio.wait(mine)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=failure)
