"""Reading from replicas that are behind, pages that fail, any cursor: exactly the events, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import reading
from holdfast.client import over
from holdfast.log import Page, Place
from holdfast.testing.memory import MemoryBroker, MemoryLog


class WorstReplicas(MemoryLog):
    """Every page comes from some replica that has applied some prefix, or does not come. Wake-ups get lost."""

    def __init__(self, broker: MemoryBroker, rng: random.Random) -> None:
        super().__init__(broker)
        self.rng = rng

    def page(self, place: Place, after: int, done: Callable[[Page | None], None]) -> None:
        if self.rng.random() < 0.2:
            self._loop.call_soon(done, None)
            return
        records = self.broker.subjects.get(place.stored, [])
        applied = records[: max(0, len(records) - self.rng.choice((0, 0, 1, 5)))]
        found = [r for r in applied if r.sequence > after]
        size = self.rng.randint(1, 4)
        self._loop.call_soon(done, Page(found[:size], len(found) > size))


async def read_all(broker: MemoryBroker, seed: int, cursor: str | None) -> list[holdfast.StreamEvent]:
    async with over(WorstReplicas(broker, random.Random(seed))) as hf:
        return [e async for e in hf.read("s", cursor)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), runs=st.integers(1, 3), at=st.integers(0, 200))
def test_any_cursor_gives_exactly_what_is_behind_it(seed: int, runs: int, at: int) -> None:
    """Also inside a coalesced message, behind a terminal, and with other sessions between."""

    async def main() -> None:
        rng, broker = random.Random(seed), MemoryBroker()
        async with holdfast.testing.memory(broker) as hf:
            for run in range(runs):
                async with hf.session("s") as s:
                    for i in range(rng.randint(0, 12)):
                        s.write(f"{run}.{i}")
                        if rng.random() < 0.4:
                            await s.drain()
                        if rng.random() < 0.2:
                            await hf.pipe("other", ["x"])
            truth = [e async for e in hf.read("s")]
        assert await read_all(broker, seed, None) == truth
        start = at % len(truth)
        assert await read_all(broker, seed, truth[start].id) == truth[start + 1 :]

    run_quickly(main())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_live_reader_sees_what_was_written(seed: int) -> None:
    async def main() -> None:
        rng, broker = random.Random(seed), MemoryBroker()
        async with holdfast.testing.memory(broker) as hf:
            reading_it = asyncio.create_task(read_all(broker, seed, None))
            wanted = []
            async with hf.session("s", min_publish_interval_seconds=0) as s:
                for i in range(30):
                    s.write(str(i))
                    wanted.append(str(i))
                    if rng.random() < 0.5:
                        await s.drain()
            got = await reading_it
        assert [e.text for e in got if not e.control] == wanted
        assert [e.type for e in got if e.control] == ["session.start", "session.end"]

    run_quickly(main())


class DeposedLeader(MemoryLog):
    """For a while the leader knows less than there is, and so do all replicas that are reached."""

    def __init__(self, broker: MemoryBroker, until: float, known: int) -> None:
        super().__init__(broker)
        self.until = until
        self.known = known

    def page(self, place: Place, after: int, done: Callable[[Page | None], None]) -> None:
        records = self.broker.subjects.get(place.stored, [])
        if self._loop.time() < self.until:
            records = [r for r in records if r.sequence <= self.known]
        self._loop.call_soon(done, Page([r for r in records if r.sequence > after], False))

    async def last_sequence(self, place: Place) -> int | None:
        if self._loop.time() < self.until:
            return self.known
        return await super().last_sequence(place)


async def behind_a_cut(broker: MemoryBroker, cursor: str | None, seconds: float) -> list[holdfast.StreamEvent]:
    log = DeposedLeader(broker, asyncio.get_running_loop().time() + seconds, 2)
    async with over(log) as hf:
        return [e async for e in hf.read("s", cursor)]


def test_a_deposed_leader_does_not_call_a_cursor_future() -> None:
    """It answers from its own old log for ten seconds; the reader waits, and goes on exactly behind its cursor."""

    async def main() -> None:
        broker = MemoryBroker()
        async with holdfast.testing.memory(broker) as hf:
            async with hf.session("s", min_publish_interval_seconds=0) as s:
                for i in range(6):
                    s.write(str(i))
                    await s.drain()
            truth = [e async for e in hf.read("s")]
        assert await behind_a_cut(broker, truth[4].id, 10.0) == truth[5:]

    run_quickly(main())


def test_a_cursor_beyond_the_log_is_told_in_the_end() -> None:
    """Also one behind a run that is over."""

    async def main() -> None:
        broker = MemoryBroker()
        async with holdfast.testing.memory(broker) as hf:
            async with hf.session(
                "s"
            ) as session:  # no thread: while one works this loop's clock runs, and leases renew
                session.write("a")
            truth = [e async for e in hf.read("s")]
            future = f"{truth[0].id.partition('-')[0]}-99"  # type: ignore[union-attr]
            got = [e async for e in hf.read("s", future)]
        assert got[0].type == "session.gap"
        assert got[0].json()["reason"] == "future"
        assert got[1:] == truth

    run_quickly(main())


def run_quickly(work: object) -> None:
    """A loop whose clock runs ahead whenever everybody waits: back-offs and polls cost no time."""
    loop = SkippingLoop()
    try:
        loop.run_until_complete(work)  # type: ignore[arg-type]
    finally:
        loop.close()


class SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0

    def time(self) -> float:
        return super().time() + self._ahead

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._ahead += max(0.0, self._scheduled[0].when() - self.time())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def test_the_poll_is_what_finds_a_lost_wake_up() -> None:
    assert reading.POLL_SECONDS <= 1.0
