"""The dead producer, on two pods, in virtual time: told and closed within the bounds, once; nobody healthy is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.wire import codec
from holdfast_gateway.core.close_reasons import CloseReason
from tests.unit.runtime.virtual_time import now, virtual
from tests.unit.runtime.world import KEY, told, world


async def seconds_until(what: Callable[[], bool], begin: float) -> float:
    """How long it took since `begin`, to a tenth of a second."""
    while not what():  # noqa: ASYNC110 - the clock is ours
        await asyncio.sleep(0.1)
    return now() - begin


@virtual
async def test_told_within_the_lease_and_closed_within_the_grace_by_one_pod() -> None:
    async with world() as w:
        await w.start(lease=30.0)
        sinks = [await w.watch(w.hub), await w.watch(w.other)]
        begin = now()
        assert await seconds_until(lambda: told(sinks[0])[-1] == "producer", begin) <= 31.0
        assert await seconds_until(lambda: sinks[0].reason is not None, begin) <= 52.0
        await asyncio.sleep(1)
        assert told(sinks[0]) == told(sinks[1]) == ["start", "producer", "failed"]
        assert sinks[0].last_id == sinks[1].last_id
        assert sinks[0].seen[-1].json["reason"] == "producer_lost"
        assert [sink.reason for sink in sinks] == [CloseReason.ENDED] * 2
        stored = [w.hub.counters.failed_stored["producer_lost"], w.other.counters.failed_stored["producer_lost"]]
        assert sorted(stored) == [0, 1]
        late = await w.watch()
        assert told(late) == ["start", "producer", "failed"]


@virtual
async def test_a_hint_shortens_the_telling_only() -> None:
    async with world() as w:
        await w.start(lease=30.0)
        w.source.hint("w")
        sink = await w.watch()
        assert await seconds_until(lambda: told(sink)[-1] == "producer", now()) <= 10.0


@virtual
async def test_a_thinking_writer_that_renews_is_never_lost() -> None:
    async with world() as w:
        run = await w.start(lease=30.0)
        sink = await w.watch()
        for _ in range(60):
            await asyncio.sleep(10)
            await w.append(codec.alive("w-1", run))
        await w.say("done thinking")
        assert told(sink) == ["start", "done thinking"]


@virtual
async def test_a_writer_that_comes_back_in_time_goes_on() -> None:
    async with world() as w:
        await w.start(lease=30.0)
        sink = await w.watch()
        await asyncio.sleep(45)
        await w.say("back")
        await asyncio.sleep(20)
        assert told(sink) == ["start", "producer", "producer", "back"]
        assert [s.json["state"] for s in sink.seen if s.event == "session.producer"] == ["lost", "back"]


@virtual
async def test_a_pod_that_was_cut_off_kills_nobody() -> None:
    """The pod hears nothing for two minutes; the writer renews all along. When the pod is back it begins anew."""
    async with world() as w:
        run = await w.start(lease=30.0)
        sink = await w.watch()
        w.source.faults.drop_live = lambda record: True
        for turn in range(24):
            w.source.faults.outage = turn % 2 == 0
            w.source.reconnect()
            await asyncio.sleep(2)
            w.source.faults.outage = False
            await w.source.append(KEY, codec.alive("w-1", run), None)
            await asyncio.sleep(3)
        w.source.faults.drop_live = None
        await w.say("alive")
        await asyncio.sleep(5)
        assert "failed" not in told(sink)
        assert told(sink)[-1] == "alive"


@virtual
async def test_an_outage_restarts_the_grace() -> None:
    async with world() as w:
        await w.start(lease=30.0)
        sink = await w.watch()
        await asyncio.sleep(40)
        assert told(sink) == ["start", "producer"]
        w.source.faults.outage = True
        await asyncio.sleep(60)
        assert told(sink) == ["start", "producer"]
        w.source.faults.outage = False
        w.source.reconnect()
        await asyncio.sleep(15)
        await w.say("still here")
        await asyncio.sleep(10)
        assert told(sink) == ["start", "producer", "producer", "still here"]


@virtual
async def test_nobody_looks_nobody_judges_and_the_next_look_finds_it_at_once() -> None:
    async with world(linger_seconds=5.0) as w:
        await w.start(lease=30.0)
        await asyncio.sleep(3600)
        assert (await w.hub.state(KEY)).status == "open"
        await asyncio.sleep(1.5)
        assert (await w.hub.state(KEY)).status == "lost"
        for _ in range(11):
            await asyncio.sleep(2)
            view = await w.hub.state(KEY)
        assert view.status == "failed"


@virtual
async def test_a_run_without_a_lease_ends_by_the_idle_limit() -> None:
    async with world(idle_seconds=600.0) as w:
        await w.say("nats pub", writer=None)
        sink = await w.watch()
        await asyncio.sleep(590)
        await w.say("and on", writer=None)
        await asyncio.sleep(590)
        assert told(sink) == ["nats pub", "and on"]
        await asyncio.sleep(12)
        assert told(sink) == ["nats pub", "and on", "failed"]
        assert sink.seen[-1].json["reason"] == "idle"


@virtual
async def test_an_answer_that_nobody_got_is_looked_at_again() -> None:
    async with world() as w:
        await w.start(lease=30.0)
        sink = await w.watch()
        w.source.faults.lose_acks = True
        await asyncio.sleep(120)
        assert told(sink) == ["start", "producer", "failed"]
