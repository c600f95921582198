"""A viewer that begins while a pass is under way is in none of its slices: it must not be forgotten."""

from __future__ import annotations

import asyncio

from holdfast.wire import SessionKey, codec, event
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.log import PIECE_BYTES
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.runtime.api import Attached, Viewer
from holdfast_gateway.runtime.fanout import SLICE_VIEWERS
from holdfast_gateway.runtime.hub import Hub

KEY = SessionKey("default", "chat")


class _Counting:
    """A connection that takes everything."""

    writable = True

    def __init__(self) -> None:
        self.size_bytes = 0

    def write(self, piece: Piece) -> None:
        self.size_bytes += len(piece.data)

    def close(self, reason: CloseReason) -> None: ...


async def _attach(hub: Hub, start: str) -> Viewer:
    outcome = await hub.attach(KEY, start="now" if start == "now" else "start")
    assert isinstance(outcome, Attached)
    return outcome.viewer


async def test_a_viewer_that_begins_during_a_pass_gets_all_that_does_not_fit_one_write() -> None:
    """The ring holds more than one write takes, the pass has begun without the viewer, and nothing new ever comes."""
    source = MemorySource()
    await source.start()
    async with Hub(source) as hub:
        await source.append(KEY, codec.start("writer-1"), None)
        text = "x" * 60_000
        for index in range(2 * PIECE_BYTES // len(text)):
            await source.append(KEY, codec.data([event(text)], writer="writer-1", run=1, index=index), None)
        crowd = [await _attach(hub, "now") for _ in range(SLICE_VIEWERS + 1)]
        for viewer in crowd:
            viewer.start(_Counting())
        late, sink = await _attach(hub, "start"), _Counting()
        session = hub._sessions[KEY]
        await source.append(KEY, codec.data([event("last")], writer="writer-1", run=1, index=99), None)
        async with asyncio.timeout(10):
            while not session.fanout._at % (SLICE_VIEWERS + 1):  # noqa: ASYNC110  between two slices
                await asyncio.sleep(0)
            late.start(sink)
            assert PIECE_BYTES < sink.size_bytes < session.core.log.tail.total_bytes
            while session.fanout._scheduled:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert sink.size_bytes >= session.core.log.tail.total_bytes
        for viewer in [*crowd, late]:
            viewer.detach()
    await source.close()
