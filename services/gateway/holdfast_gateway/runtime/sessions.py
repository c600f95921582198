"""The sessions that are live on this pod: opened by whoever comes first, shared by all who come then, let go by the
clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from holdfast.wire import SessionKey
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.ports import SessionSource, SourceUnavailable
from holdfast_gateway.runtime.session import LiveSession
from holdfast_gateway.runtime.tasks import OwnedTasks


class Sessions:
    """`live`: by key. `lost`: those whose producer is lost, which are looked at more often."""

    def __init__(
        self,
        make: Callable[[SessionKey, str], LiveSession],
        source: SessionSource,
        wait_seconds: float,
        tasks: OwnedTasks,
        clock: Callable[[], float],
    ) -> None:
        """`make` builds a session of an incarnation; `wait_seconds` bounds how long the broker may take to name it."""
        self.live: dict[SessionKey, LiveSession] = {}
        self.lost: set[LiveSession] = set()
        self._make = make
        self._source = source
        self._wait_seconds = wait_seconds
        self._tasks = tasks
        self._clock = clock
        self._opening: dict[SessionKey, asyncio.Task[LiveSession | SourceUnavailable]] = {}
        self._closed = False

    @asynccontextmanager
    async def held(self, key: SessionKey) -> AsyncIterator[LiveSession]:
        """The live session, opened if need be, held while the block runs. Raises `SourceUnavailable`."""
        session = self.live.get(key)
        while session is None or session.closed:  # the clock may let it go before we are back from opening it
            if self._closed:
                raise SourceUnavailable("the gateway is stopping")
            opening = self._opening.get(key)
            if opening is None:
                opening = self._opening[key] = self._tasks.spawn(self._open(key))
            await asyncio.wait([opening])  # shared: a request that is cancelled must not take the others with it
            if opening.cancelled():
                raise SourceUnavailable("the gateway is stopping")
            opened = opening.result()
            if isinstance(opened, SourceUnavailable):
                raise SourceUnavailable(*opened.args)
            session = opened
        session.holds += 1
        try:
            yield session
        finally:
            session.holds -= 1
            session.used_at = self._clock()

    async def _open(self, key: SessionKey) -> LiveSession | SourceUnavailable:
        try:
            async with asyncio.timeout(self._wait_seconds):
                incarnation = await self._source.incarnation(key)
        except SourceUnavailable as down:
            return down
        except TimeoutError:
            return SourceUnavailable("the broker does not answer")
        finally:
            del self._opening[key]
        session = self.live[key] = self._make(key, incarnation)
        session.open()
        return session

    def forget(self, session: LiveSession) -> None:
        """The session is over, or about to be."""
        if self.live.get(session.key) is session:
            del self.live[session.key]
        self.lost.discard(session)

    def drop(self, session: LiveSession) -> None:
        """Let a session go, and whoever still watches it."""
        self.forget(session)
        session.close(CloseReason.STOPPED)

    def close(self) -> None:
        """Drop all and open none any more. Idempotent."""
        self._closed = True
        for session in list(self.live.values()):
            self.drop(session)
