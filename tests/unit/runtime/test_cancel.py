"""Stop: before, during, after, twice, by two pods; one outcome each."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.wire import codec
from holdfast_gateway.ports import AppendResult, SourceUnavailable, Unsettled
from holdfast_gateway.runtime.api import CancelOutcome
from tests.unit.runtime.virtual_time import settle, virtual
from tests.unit.runtime.world import KEY, World, told, world


@virtual
async def test_during_the_run() -> None:
    async with world() as w:
        run = await w.start()
        await w.say("partial")
        sink = await w.watch()
        assert await w.hub.cancel(KEY, reason="user") is CancelOutcome.CANCELLED
        assert told(sink) == ["start", "partial", "cancelled"]
        assert sink.seen[-1].json == {"run": run, "reason": "user"}
        assert w.source.nudged == [(KEY, "w-1")]
        await w.say("zombie")
        assert told(await w.watch()) == ["start", "partial", "cancelled"]


@virtual
async def test_twice_and_after_the_end() -> None:
    async with world() as w:
        run = await w.start()
        assert await w.hub.cancel(KEY, run) is CancelOutcome.CANCELLED
        assert await w.hub.cancel(KEY, run) is CancelOutcome.ALREADY_CLOSED
        assert await w.other.cancel(KEY) is CancelOutcome.ALREADY_CLOSED
        second = await w.start()
        await w.end()
        assert await w.hub.cancel(KEY, second) is CancelOutcome.ALREADY_CLOSED
        assert await w.hub.cancel(KEY, run) is CancelOutcome.ALREADY_CLOSED
        assert w.hub.counters.cancels == {"cancelled": 1, "already_closed": 3}


@virtual
async def test_before_the_start_by_name() -> None:
    async with world() as w:
        assert await w.hub.cancel(KEY, "answer-7") is CancelOutcome.REMEMBERED
        assert await w.other.cancel(KEY, "answer-7") is CancelOutcome.REMEMBERED
        assert len((await w.source.read(KEY, 1)).records) == 1, "the second says so without a record"
        await w.start(name="answer-7")
        assert told(await w.watch()) == ["start", "cancelled"]
        assert await w.hub.cancel(KEY, "answer-7") is CancelOutcome.ALREADY_CLOSED


@virtual
async def test_by_name_during_and_after() -> None:
    async with world() as w:
        await w.start(name="one")
        assert await w.hub.cancel(KEY, "two") is CancelOutcome.REMEMBERED
        assert await w.hub.cancel(KEY, "one") is CancelOutcome.CANCELLED
        assert await w.hub.cancel(KEY, "one") is CancelOutcome.ALREADY_CLOSED


@virtual
async def test_what_there_is_not() -> None:
    async with world() as w:
        assert await w.hub.cancel(KEY) is CancelOutcome.UNKNOWN
        assert await w.hub.cancel(KEY, 12345) is CancelOutcome.UNKNOWN
        await w.start()
        assert await w.hub.cancel(KEY, 12345) is CancelOutcome.UNKNOWN


@virtual
async def test_two_pods_at_once_exactly_one_cancels() -> None:
    async with world() as w:
        await w.start()
        await w.watch(w.hub)
        await w.watch(w.other)
        outcomes = await asyncio.gather(w.hub.cancel(KEY), w.other.cancel(KEY))
        assert sorted(outcomes) == [CancelOutcome.ALREADY_CLOSED, CancelOutcome.CANCELLED]


@virtual
async def test_the_end_that_came_first_counts() -> None:
    async with world() as w:
        run = await w.start()
        await w.watch()
        w.source.faults.drop_live = lambda record: True  # the pod does not know of the end yet
        await w.end()
        cancelling = asyncio.ensure_future(w.hub.cancel(KEY, run))
        await settle()
        assert not cancelling.done(), "said only when the log has told it"
        assert await cancelling is CancelOutcome.ALREADY_CLOSED


class _Flaky:
    """The first acknowledgement is lost, with the append stored or not."""

    def __init__(self, w: World, stored: bool) -> None:
        self.inner, self.source, self.stored, self.calls = w.source.append, w.source, stored, 0

    async def append(self, key, draft: codec.Draft, expected: int | None) -> AppendResult:  # type: ignore[no-untyped-def]
        self.calls += 1
        if self.calls > 1 or self.stored:
            result = await self.inner(key, draft, expected)
            if self.calls > 1:
                return result
        return Unsettled("no answer")


@pytest.mark.parametrize("stored", [True, False])
def test_an_answer_that_is_lost_changes_no_outcome(stored: bool) -> None:
    @virtual
    async def run() -> None:
        async with world() as w:
            await w.start()
            flaky = _Flaky(w, stored)
            w.source.append = flaky.append  # type: ignore[method-assign]
            assert await w.hub.cancel(KEY) is CancelOutcome.CANCELLED
            assert flaky.calls == 2

    run()


@virtual
async def test_a_cancel_that_cannot_be_stored_is_said() -> None:
    async with world(broker_wait_seconds=2.0) as w:
        await w.start()
        await w.watch()
        w.source.faults.outage = True
        with pytest.raises(SourceUnavailable):
            await w.hub.cancel(KEY)
        w.source.faults.outage = False
        assert await w.hub.cancel(KEY) is CancelOutcome.CANCELLED
