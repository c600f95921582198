"""Waiting for other processes, which can only be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(check: Callable[[], Awaitable[bool]], timeout_seconds: float, pause_seconds: float = 0.1) -> None:
    """Ask until the answer is yes.

    Raises:
        TimeoutError: It was not within the time-out.
    """
    async with asyncio.timeout(timeout_seconds):
        while True:
            if await check():
                return
            await asyncio.sleep(pause_seconds)
