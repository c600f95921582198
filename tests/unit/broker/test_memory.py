"""The in-memory source: bounds, and that its faults are healed the way the real broker's are."""

from __future__ import annotations

import asyncio
import random

import pytest

from holdfast.wire import SessionKey
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.ports import Appended, Located, SourceUnavailable, Unsettled
from tests.sinks import Sink, fill, text

KEY, OTHER = SessionKey.of("chat-1"), SessionKey.of("chat-2")


async def settle(source: MemorySource) -> None:
    """Let everything that is due happen; no time passes."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_the_log_is_bounded_in_bytes_and_loses_the_oldest_first() -> None:
    source = MemorySource(max_bytes=10_000)
    mine = await fill(source, KEY, 5)
    for _ in range(100):
        await source.append(OTHER, text("x" * 200), None)
    assert source.log.size_bytes <= 10_000
    assert await source.read(KEY, 1) == await source.read(KEY, mine[-1])
    assert (await source.read(OTHER, 1)).records
    assert await source.locate(KEY, await source.incarnation(KEY), mine[0]) is Located.TRIMMED
    await source.close()


async def test_the_log_is_bounded_in_age() -> None:
    now = [1000.0]
    source = MemorySource(max_age_seconds=60, clock=lambda: now[0])
    mine = await fill(source, KEY, 3)
    now[0] += 50
    later = await fill(source, KEY, 1, mine[-1])
    now[0] += 20
    assert [r.sequence for r in (await source.read(KEY, 1)).records] == later
    now[0] += 100
    assert await source.tail(KEY) is None
    assert source.log.size_bytes == 0
    await source.close()


async def test_lost_doubled_and_stale_are_healed() -> None:
    source = MemorySource(sweep_seconds=0.0)
    chance = random.Random(5)
    source.faults.drop_live = lambda record: chance.random() < 0.3
    source.faults.double_live = lambda record: chance.random() < 0.3
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    mine: list[int] = []
    for _ in range(50):
        mine += await fill(source, KEY, 3, mine[-1] if mine else 0)
        source.faults.stale_reads, source.faults.stale_by = 2, 2
        await settle(source)
    source.faults.stale_reads = 0
    async with asyncio.timeout(5):
        while len(sink.records) < len(mine):  # noqa: ASYNC110  backoff after stale reads takes real milliseconds
            await asyncio.sleep(0.001)
    assert sink.sequences == mine
    assert source.faults.reads > 10
    feed.close()
    await source.close()


async def test_an_outage_is_trouble_and_ends_well() -> None:
    source = MemorySource(sweep_seconds=0.0)
    sink = Sink()
    source.open_feed(KEY, sink)
    await settle(source)
    mine = await fill(source, KEY, 2)
    source.faults.outage = True
    with pytest.raises(SourceUnavailable):
        await source.tail(KEY)
    assert isinstance(await source.append(KEY, text("x"), None), Unsettled)
    source.reconnect()
    await settle(source)
    assert sink.troubles >= 2, "the reconnect, and the read that failed after it"
    source.faults.outage = False
    mine += await fill(source, KEY, 1, mine[-1])
    source.reconnect()
    await settle(source)
    assert sink.sequences == mine
    await source.close()


async def test_a_lost_acknowledgement_leaves_the_append_in_the_log() -> None:
    source = MemorySource()
    source.faults.lose_acks = True
    assert isinstance(await source.append(KEY, text("x"), 0), Unsettled)
    source.faults.lose_acks = False
    assert await source.append(KEY, text("y"), 1) == Appended(2)
    await source.close()


async def test_hints_are_per_process() -> None:
    now = [5.0]
    source = MemorySource(clock=lambda: now[0])
    source.hint("tok")
    now[0] += 3
    assert source.silent_seconds("tok-1") == 3
    assert source.silent_seconds("other-1") is None
    await source.close()


async def test_close_ends_feeds_timers_and_tasks() -> None:
    before = asyncio.all_tasks()
    source = MemorySource(sweep_seconds=60)
    source.faults.drop_live = lambda record: True
    sink = Sink()
    source.open_feed(KEY, sink)
    await settle(source)
    await fill(source, KEY, 3)
    await source.close()
    await settle(source)
    assert asyncio.all_tasks() == before
    assert sink.sequences == []
