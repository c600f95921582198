"""Sessions are opened by whoever comes first, and closed by a clock: the two must not meet in between."""

from __future__ import annotations

import asyncio
import time

from holdfast.wire import SessionKey, codec
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.ports import Feed, FeedSink
from holdfast_gateway.runtime.api import Attached
from holdfast_gateway.runtime.hub import Hub

KEY = SessionKey("default", "chat")


class _TickAfterOpening(MemorySource):
    """The hub's clock strikes between a session's opening and the return of the request that opened it."""

    hub: Hub
    opened = 0

    def open_feed(self, key: SessionKey, sink: FeedSink, *, after: int = 0) -> Feed:
        feed = super().open_feed(key, sink, after=after)
        self.opened += 1
        if self.opened == 1:
            asyncio.get_running_loop().call_soon(self.hub._every_second, 1, time.monotonic())
        return feed


async def test_a_session_dropped_while_it_is_opened_is_opened_again() -> None:
    """Nobody holds it yet and it holds nothing yet, so the clock lets it go; the viewer must not be refused."""
    source = _TickAfterOpening()
    await source.start()
    async with Hub(source) as hub:
        source.hub = hub
        await source.append(KEY, codec.start("writer-1"), 0)
        outcome = await hub.attach(KEY)
        assert isinstance(outcome, Attached)
        assert source.opened == 2
        assert hub.sessions == 1
        outcome.viewer.detach()
    await source.close()
