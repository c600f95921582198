"""The in-memory twin: a test written against it says what the real server would do."""

from __future__ import annotations

import asyncio

import pytest

import holdfast
from holdfast.testing import MemoryBroker, memory


async def texts(hf: holdfast.Holdfast, sid: str) -> list[str]:
    return [e.text async for e in hf.read(sid) if not e.control]


async def test_written_is_read() -> None:
    async with memory() as hf:
        async with hf.session("s") as s:
            for i in range(200):
                s.write(str(i))
                if i % 50 == 0:
                    await s.drain()
        assert await texts(hf, "s") == [str(i) for i in range(200)]
        assert (await hf.state("s")).status == "ended"


async def test_reader_in_step_with_its_writer() -> None:
    """A live reader is woken, it does not poll."""
    async with memory() as hf:
        got: list[str] = []

        async def follow() -> None:
            async for e in hf.read("s"):
                got.append(e.type if e.control else e.text)

        reading = asyncio.create_task(follow())
        async with hf.session("s", min_publish_interval_seconds=0) as s:
            for i in range(3):
                s.write(str(i))
                await s.drain()
        async with asyncio.timeout(2):
            await reading
        assert got == ["session.start", "0", "1", "2", "session.end"]


async def test_two_clients_of_one_broker_fence_and_cancel() -> None:
    broker = MemoryBroker()
    async with memory(broker) as a, memory(broker) as b:
        s = await a.session("s").open()
        s.write("a")
        await s.drain()
        async with b.resume("s") as taken:
            assert [e.text for e in taken.history] == ["a"]
            s.write("zombie")
            with pytest.raises(holdfast.SessionFenced):
                await s.drain()
            assert await a.cancel("s") == "cancelled"
            async with asyncio.timeout(1):
                await taken.cancelled.wait()
        assert await texts(b, "s") == ["a"]


async def test_broker_away_fills_the_buffer_then_catches_up() -> None:
    broker = MemoryBroker()
    async with memory(broker) as hf:
        async with hf.session("s", buffer_events=5) as s:
            broker.offline = True
            for i in range(5):
                s.write(str(i))
            with pytest.raises(holdfast.BufferFull):
                s.write("over")
            await asyncio.sleep(0)
            broker.offline = False
            await s.write_async("5")
        assert await texts(hf, "s") == [str(i) for i in range(6)]


async def test_broker_away_for_good_is_uncertain() -> None:
    broker = MemoryBroker()
    async with memory(broker) as hf:
        s = await hf.session("s", give_up_seconds=0.02).open()
        broker.offline = True
        s.write("a")
        with pytest.raises(holdfast.Uncertain):
            await s.drain()


async def test_exception_ends_and_tasks_end() -> None:
    async with memory() as hf:
        with pytest.raises(ZeroDivisionError):
            async with hf.session("s"):
                raise ZeroDivisionError
        last = [e async for e in hf.read("s")][-1]
        assert last.json() == {"run": 1, "reason": "producer_error", "message": "ZeroDivisionError"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failing_cancel_callback_is_reported_and_stops_nothing() -> None:
    loop, told = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    async with memory() as hf:
        async with hf.session("s") as s:
            s.on_cancel(lambda: 1 / 0)
            await hf.cancel("s")
            await s.cancelled.wait()
            called: list[int] = []
            s.on_cancel(lambda: called.append(1))
            await asyncio.sleep(0)
            assert called == [1]
    assert isinstance(told[0], ZeroDivisionError)


async def test_erase_leaves_only_the_erasure() -> None:
    broker = MemoryBroker()
    async with memory(broker) as hf:
        await hf.pipe("s", ["personal"])
        await hf.erase("s")
        assert await texts(hf, "s") == []
        (records,) = broker.subjects.values()
        assert [r.kind for r in records] == ["erased"]
        with pytest.raises(holdfast.SessionNotFound):
            await hf.erase("never")


async def test_trimmed_cursor_says_gap_and_goes_on() -> None:
    broker = MemoryBroker()
    async with memory(broker) as hf:
        async with hf.session("s", min_publish_interval_seconds=0) as s:
            for i in range(5):
                s.write(str(i))
                await s.drain()
        records = next(iter(broker.subjects.values()))
        del records[:3]
        events = [e async for e in hf.read("s", "mem-2")]
        assert (events[0].type, events[0].json()["reason"]) == ("session.gap", "trimmed")
        assert [e.type for e in events].count("session.gap") == 1
        assert [e.text for e in events if not e.control] == ["2", "3", "4"]
        assert [e.type async for e in hf.read("s")] == ["session.gap", *["message"] * 3, "session.end"]
        # The message of the cursor is gone, but nothing between it and the earliest one left: nothing was lost.
        assert next(iter([e async for e in hf.read("s", "mem-3")])).text == "2"


async def test_a_reader_that_stops_early_leaves_nothing_behind() -> None:
    broker = MemoryBroker()
    async with memory(broker) as hf:
        await hf.pipe("s", ["a", "b"])
        events = hf.read("s")
        assert (await anext(events)).type == "session.start"
        await events.aclose()
        assert [w for w in broker.watches.items() if w[0].startswith("hfl.") and w[1]] == []
