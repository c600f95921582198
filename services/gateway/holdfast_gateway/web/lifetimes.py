"""How long a stream may last: to its age bound, so that connections spread over pods again, or as long as its grant.

Either way it ends at an event boundary, and the client comes back with its cursor.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Final
from weakref import WeakSet

from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.runtime.api import Viewer

SPREAD: Final = 0.1
"""Ages differ by this share, so that what connected at once does not come back at once."""


class Lifetimes:
    """Closes viewers when their time is up, to the second. Holds them weakly: one that leaves costs nothing more.

    One timer a second at most, however many viewers there are. Belongs to one event loop; `close` ends all timers.
    """

    def __init__(self, age_seconds: float, dice: random.Random | None = None) -> None:
        """`age_seconds` 0: no age bound."""
        self._age_seconds = age_seconds
        self._dice = dice or random.Random()
        self._due: dict[int, tuple[asyncio.TimerHandle, dict[CloseReason, WeakSet[Viewer]]]] = {}

    def watch(self, viewer: Viewer, expires_at: float | None) -> None:
        """Close this viewer in time. `expires_at`: Unix time at which its grant ends; None: never."""
        left, reason = math.inf, CloseReason.AGED
        if self._age_seconds:
            left = self._age_seconds * self._dice.uniform(1 - SPREAD, 1 + SPREAD)
        if expires_at is not None and expires_at - time.time() < left:
            left, reason = max(0.0, expires_at - time.time()), CloseReason.EXPIRED
        if left == math.inf:
            return
        loop = asyncio.get_running_loop()
        second = math.floor(loop.time() + left)
        if second not in self._due:
            self._due[second] = (loop.call_at(second, self._end, second), {})
        self._due[second][1].setdefault(reason, WeakSet()).add(viewer)

    def _end(self, second: int) -> None:
        _, viewers = self._due.pop(second)
        for reason, some in viewers.items():
            for viewer in list(some):
                viewer.close(reason)

    def close(self) -> None:
        """Forget everything. Closes no viewer."""
        for timer, _ in self._due.values():
            timer.cancel()
        self._due.clear()
