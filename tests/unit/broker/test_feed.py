"""The driver of a feed: bugs end it, aloud; reconnects wake it; closing silences it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from holdfast.wire import Record, SessionKey
from holdfast_gateway.broker.memory import MemorySource
from tests.sinks import Sink, fill

KEY = SessionKey.of("chat-1")


class Broken(Sink):
    """A sink with a bug, from the n-th record on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def on_records(self, records: Sequence[Record]) -> None:
        super().on_records(records)
        if self.records[-1].sequence >= self.at:
            raise RuntimeError("a bug in the sink")


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("live", [True, False])
async def test_a_sink_that_raises_loses_its_feed_and_not_a_record_in_silence(
    live: bool, caplog: pytest.LogCaptureFixture
) -> None:
    source = MemorySource()
    sink, other = Broken(2), Sink()
    if live:
        source.open_feed(KEY, sink)
        source.open_feed(KEY, other)
        await settle()
    await fill(source, KEY, 4)
    if not live:
        source.open_feed(KEY, sink)
        source.open_feed(KEY, other)
    with caplog.at_level(logging.ERROR):
        await settle()
    assert sink.gone == "internal error"
    assert "a bug in the sink" in caplog.text
    assert other.sequences == [1, 2, 3, 4], "the others are not touched"
    assert sink.records[-1].sequence <= 4
    before = list(sink.told)
    await fill(source, KEY, 1, 4)
    await settle()
    assert sink.told == before
    await source.close()


async def test_a_reconnect_wakes_a_feed_that_backs_off() -> None:
    """After a long outage nobody waits out the last pause."""
    source = MemorySource()
    await fill(source, KEY, 2)
    source.faults.outage = True
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await settle()
    for _ in range(20):
        feed.order.failed()  # type: ignore[attr-defined]
    await asyncio.sleep(0.02)  # it has taken up the long pause
    source.faults.outage = False
    assert sink.sequences == []
    source.reconnect()
    await settle()
    assert sink.sequences == [1, 2]
    await source.close()
