"""The buffer between a model's pace and the storage's."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.adapters import Event
from holdfast.serving.buffer import ChunkBuffer


async def test_what_piled_up_is_taken_at_once() -> None:
    buffer = ChunkBuffer()
    for word in (b"a", b"b"):
        await buffer.put(Event(word))
    assert [e.data for e in await buffer.take()] == [b"a", b"b"]
    buffer.close()
    assert await buffer.take() == []


@pytest.mark.parametrize("bounds", [{"max_events": 3}, {"max_bytes": 30}])
async def test_a_full_buffer_makes_the_generator_wait(bounds: dict[str, int]) -> None:
    buffer = ChunkBuffer(**bounds)
    put = 0

    async def model() -> None:
        nonlocal put
        for _ in range(10):
            await buffer.put(Event(b"x" * 10))
            put += 1
        buffer.close()

    task = asyncio.create_task(model())
    taken = 0
    for _ in range(10):
        await asyncio.sleep(0)
        assert put - taken <= 3
    while events := await buffer.take():
        assert len(events) <= 3
        taken += len(events)
    assert taken == 10
    await task


async def test_one_event_over_the_bound_goes_alone() -> None:
    buffer = ChunkBuffer(max_bytes=5)
    await buffer.put(Event(b"x" * 100))
    assert len(await buffer.take()) == 1


async def test_cancelling_a_take_loses_nothing() -> None:
    buffer = ChunkBuffer()
    task = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    await buffer.put(Event(b"a"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [e.data for e in await buffer.take()] == [b"a"]
