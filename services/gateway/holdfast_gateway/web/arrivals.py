"""Viewers that are still waiting for their session when the gateway has to go: they are turned away, not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TurnedAway(Exception):
    """The gateway is going away; this viewer should come back, to another one."""


class Arrivals:
    """The attaches under way. Belongs to one event loop."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self._leaving = False

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """Around an attach. Raises `TurnedAway` inside of it as soon as the gateway is leaving."""
        limit = asyncio.timeout(None)
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not (self._leaving and limit.expired()):
                raise
            raise TurnedAway from None
        finally:
            self._limits.discard(limit)

    def turn_away(self) -> None:
        """End every wait now. Idempotent."""
        self._leaving = True
        now = asyncio.get_running_loop().time()
        for limit in list(self._limits):
            limit.reschedule(now)
