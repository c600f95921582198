"""When a producer is taken for lost, and when not: on the SDK's in-memory twin, whose broker the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from holdfast import operations
from holdfast.client import over
from holdfast.log import Log, Place
from holdfast.serving.nats_lease import guard
from holdfast.serving.nats_log import Answer, catch_up
from holdfast.testing.memory import MemoryBroker, MemoryLog
from holdfast.wire import Draft, Kind, SessionKey, codec

LEASE, GRACE = 0.6, 0.8


class Watched:
    """A session whose producer is the test, and the guard over it."""

    def __init__(self, broker: MemoryBroker, log: Log, place: Place) -> None:
        self.broker = broker
        self.log = log
        self.place = place
        self.answer = Answer(place.incarnation)
        self.started_at = asyncio.get_running_loop().time()

    async def write(self, draft: Draft) -> None:
        await operations.append(self.log, self.place, draft)

    async def until(self, kind: Kind) -> float:
        """When a record of that kind is the tail: seconds since the start."""
        async with asyncio.timeout(10):
            while self.kinds()[-1] is not kind:  # noqa: ASYNC110  (the broker is only a list)
                await asyncio.sleep(0.005)
        return asyncio.get_running_loop().time() - self.started_at

    def kinds(self) -> list[Kind]:
        return [r.kind for r in self.broker.subjects[self.place.stored]]


@asynccontextmanager
async def watched(lease_seconds: float | None = LEASE) -> AsyncIterator[Watched]:
    broker = MemoryBroker()
    async with over(MemoryLog(broker)) as hf:
        made = Watched(broker, hf._log, hf._log.place(SessionKey.of("chat")))
        await made.write(codec.start("w", lease_seconds=lease_seconds))
        await catch_up(made.log, made.place, made.answer)
        guarding = guard(made.log, made.place, made.answer, idle_seconds=LEASE, grace_seconds=GRACE)
        task = asyncio.create_task(guarding)
        yield made
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None


async def test_lost_after_the_lease_and_failed_after_the_grace() -> None:
    async with watched() as session:
        lost = await session.until(Kind.LOST)
        assert lost >= LEASE
        failed = await session.until(Kind.FAILED)
        assert failed - lost >= GRACE
        assert session.kinds() == [Kind.START, Kind.LOST, Kind.FAILED]


async def test_without_a_lease_the_idle_limit_counts() -> None:
    async with watched(lease_seconds=None) as session:
        assert await session.until(Kind.FAILED) >= LEASE + GRACE


async def test_a_producer_that_comes_back_within_the_grace_is_not_closed() -> None:
    async with watched() as session:
        for _ in range(3):
            await session.until(Kind.LOST)
            await asyncio.sleep(GRACE * 0.5)
            await session.write(codec.alive("w", 1, lease_seconds=LEASE))
        assert Kind.FAILED not in session.kinds()
        await session.until(Kind.FAILED)


async def test_a_producer_that_renews_is_never_lost() -> None:
    async with watched() as session:
        for _ in range(12):
            await asyncio.sleep(LEASE / 3)
            await session.write(codec.alive("w", 1, lease_seconds=LEASE))
        assert set(session.kinds()) == {Kind.START, Kind.ALIVE}


async def test_a_broker_that_is_away_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The producer could not have written either, so the clock begins again when the broker is back."""
    monkeypatch.setattr("holdfast.serving.nats_log.PATIENCE_SECONDS", 0.05)
    async with watched() as session:
        await session.until(Kind.LOST)
        session.broker.offline = True
        await asyncio.sleep(GRACE * 2)
        session.broker.offline = False
        back = asyncio.get_running_loop().time() - session.started_at
        assert await session.until(Kind.FAILED) - back >= GRACE * 0.9


async def test_of_two_guards_one_closes() -> None:
    async with watched() as session:
        other = Answer(session.place.incarnation)
        await catch_up(session.log, session.place, other)
        async with asyncio.timeout(10):
            await guard(session.log, session.place, other, idle_seconds=LEASE, grace_seconds=GRACE)
        assert session.kinds().count(Kind.FAILED) == 1
        assert session.kinds().count(Kind.LOST) == 1
