"""Memory is bounded and expires; the clock is the test's."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest

from holdfast.adapters import Event
from holdfast.serving import MemoryStore, Outcome, Record, RunLost
from tests.unit.serving.clock import Clock

END = Outcome("end")


async def fill(store: MemoryStore, session_id: str, n: int, *, size: int = 10, end: bool = True) -> str:
    run = await store.begin(session_id)
    assert run is not None
    for i in range(n):
        await store.append(session_id, run, i + 1, [Event(b"x" * size)])
    if end:
        await store.finish(session_id, run, END)
    return run


async def read(store: MemoryStore, session_id: str) -> list[Record]:
    place = await store.locate(session_id, "0")
    assert place is not None
    async with aclosing(store.follow(session_id, place.run, place.after)) as batches:
        return [r async for batch in batches for r in batch]


async def test_memory_expires() -> None:
    clock = Clock()
    store = MemoryStore(ttl_seconds=100, clock=clock)
    await fill(store, "old", 3)
    clock.now += 60
    await fill(store, "new", 3)
    clock.now += 60
    assert await store.locate("old", "0") is None
    assert await store.locate("new", "0") is not None
    assert len(store) == 1
    await store.aclose()


async def test_memory_expires_without_a_call() -> None:
    """A process that nobody asks any more must not keep its last sessions for ever."""
    store = MemoryStore(ttl_seconds=0.05, lease_seconds=0.01)
    await fill(store, "a", 3)
    async with asyncio.timeout(5):
        while len(store):  # noqa: ASYNC110  (the store's own timer is what is tried)
            await asyncio.sleep(0.01)
    assert store.size_bytes == 0
    await store.aclose()


async def test_memory_is_bounded_in_a_session_s_events() -> None:
    store = MemoryStore(max_events=16)
    await fill(store, "a", 1000)
    gap, *rest = await read(store, "a")
    assert gap.kind == "gap"
    assert json.loads(gap.data)["reason"] == "trimmed"
    assert 12 <= len(rest) <= 17
    assert [r.position[0] for r in rest] == list(range(1002 - len(rest), 1002))
    assert rest[-1].kind == "end"
    await store.aclose()


async def test_memory_is_bounded_in_a_session_s_bytes() -> None:
    store = MemoryStore(max_bytes=100_000)
    run = await fill(store, "a", 0, end=False)
    for i in range(200):
        await store.append("a", run, i + 1, [Event(b"x" * 5_000)])
        assert store.size_bytes <= 110_000
    await store.aclose()


async def test_memory_is_bounded_over_all_sessions_and_ended_ones_go_first() -> None:
    store = MemoryStore(total_bytes=100_000)
    await fill(store, "ended-1", 10, size=2_000)
    await fill(store, "ended-2", 10, size=2_000)
    open_run = await fill(store, "open", 10, size=2_000, end=False)
    for i in range(20):
        await store.append("open", open_run, 11 + i, [Event(b"x" * 2_000)])
    assert await store.locate("ended-1", "0") is None
    assert await store.locate("ended-2", "0") is not None
    for i in range(100):
        await store.append("open", open_run, 31 + i, [Event(b"x" * 2_000)])
        assert store.size_bytes <= 105_000
    assert await store.locate("open", "0") is not None
    await store.aclose()


async def test_the_count_of_bytes_comes_back_to_zero() -> None:
    store = MemoryStore(total_bytes=50_000, max_events=7)
    for i in range(50):
        await fill(store, f"s{i}", i)
    for i in range(50):
        await store.erase(f"s{i}")
    assert (len(store), store.size_bytes) == (0, 0)
    await store.aclose()


async def test_a_silent_producer_is_told_after_its_lease() -> None:
    clock = Clock()
    store = MemoryStore(lease_seconds=30, clock=clock)
    run = await fill(store, "a", 1, end=False)
    clock.now += 29
    await store.renew("a", run)
    clock.now += 29
    assert (place := await store.locate("a", "0")) is not None
    assert place.state == "open"
    clock.now += 1
    *_, last = await read(store, "a")
    assert (last.kind, json.loads(last.data)["reason"]) == ("failed", "producer_lost")
    with pytest.raises(RunLost):
        await store.append("a", run, 2, [Event(b"late")])
    with pytest.raises(RunLost):
        await store.renew("a", run)
    await store.aclose()


async def test_an_append_that_is_repeated_is_stored_once() -> None:
    store = MemoryStore()
    run = await store.begin("a")
    assert run is not None
    for first, words in ((1, "abc"), (1, "abc"), (2, "bcd"), (4, "d"), (5, "e")):
        await store.append("a", run, first, [Event(w.encode()) for w in words])
    await store.finish("a", run, END)
    await store.finish("a", run, Outcome("failed", "late"))
    assert [r.data for r in await read(store, "a")] == [*"abcde", ""]
    await store.aclose()


async def test_at_end_only_behind_the_terminal() -> None:
    store = MemoryStore()
    await fill(store, "a", 2)
    *_, word, end = await read(store, "a")
    for last_id, at_end in (("0", False), (word.id, False), (end.id, True)):
        place = await store.locate("a", last_id)
        assert place is not None
        assert place.at_end is at_end
    await store.aclose()
