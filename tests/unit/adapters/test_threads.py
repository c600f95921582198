"""Sync iterators off the event loop: order, bound, errors, closing. Real threads; every wait is for an event."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from holdfast.adapters.threads import iterate_in_thread


async def test_all_items_in_order() -> None:
    assert [i async for i in iterate_in_thread(iter(range(1000)))] == list(range(1000))


async def test_the_event_loop_goes_on_while_next_blocks() -> None:
    """The loop itself releases the iterator: if `next` ran on the loop, this would never end."""
    release = threading.Event()

    def slow() -> Iterator[str]:
        release.wait(10)
        yield "done"

    asyncio.get_running_loop().call_soon(release.set)
    assert [i async for i in iterate_in_thread(slow())] == ["done"]
    assert release.is_set()


async def test_one_thread_runs_next_and_close() -> None:
    seen: list[int] = []

    def gen() -> Iterator[int]:
        try:
            for i in range(5):
                seen.append(threading.get_ident())
                yield i
        finally:
            seen.append(threading.get_ident())

    assert [i async for i in iterate_in_thread(gen())] == list(range(5))
    assert len(seen) == 6
    assert set(seen) != {threading.get_ident()}
    assert len(set(seen)) == 1


async def test_a_fast_iterator_waits_for_a_slow_consumer() -> None:
    made = 0

    def endless() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    async with aclosing(iterate_in_thread(endless(), limit=8)) as items:
        assert await anext(items) == 1
        for _ in range(200):  # a chance to run ahead, without a clock
            await asyncio.to_thread(lambda: None)
        assert made <= 8 + 8 + 1


async def test_an_error_comes_after_what_came_before_it() -> None:
    def gen() -> Iterator[int]:
        yield 1
        raise ValueError("boom")

    got = []
    items = iterate_in_thread(gen())
    got.append(await anext(items))
    with pytest.raises(ValueError, match="boom"):
        await anext(items)
    assert got == [1]


async def test_system_exit_in_the_thread_does_not_end_the_loop() -> None:
    def gen() -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    items = iterate_in_thread(gen())
    await anext(items)
    with pytest.raises(RuntimeError, match="SystemExit"):
        await anext(items)


async def test_stopping_early_closes_the_generator() -> None:
    closed = threading.Event()

    def gen() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    async with aclosing(iterate_in_thread(gen())) as items:
        await anext(items)
    assert closed.is_set()


async def test_cancelling_the_consumer_closes_the_generator() -> None:
    """The generator is inside `next` when the consumer is cancelled; it is closed when that returns."""
    inside, release, closed = threading.Event(), threading.Event(), threading.Event()

    def gen() -> Iterator[int]:
        try:
            yield 1
            inside.set()
            release.wait(10)
            yield 2
        finally:
            closed.set()

    async def consume() -> None:
        async with aclosing(iterate_in_thread(gen())) as items:
            async for _ in items:
                pass

    task = asyncio.create_task(consume())
    assert await asyncio.to_thread(inside.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_soon(release.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_stream_object_is_closed_itself() -> None:
    """Clients' streams hold a connection: closing the iterator alone would leave it open."""

    class Stream:
        closed = False

        def __iter__(self) -> Iterator[str]:
            yield "a"

        def close(self) -> None:
            self.closed = True

    stream = Stream()
    assert [i async for i in iterate_in_thread(stream)] == ["a"]
    assert stream.closed


async def test_context_variables_are_visible() -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    user.set("ada")

    def gen() -> Iterator[str]:
        yield user.get()

    assert [i async for i in iterate_in_thread(gen())] == ["ada"]
