"""Late joiners see the answer at once; state and snapshot are the log's."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.wire import Cursor, codec
from holdfast_gateway.ports import SourceUnavailable
from holdfast_gateway.runtime.api import SessionUnknown, SnapshotTooLarge
from tests.unit.runtime.virtual_time import virtual
from tests.unit.runtime.world import KEY, told, world


@virtual
async def test_a_late_joiner_gets_one_event_and_then_live() -> None:
    async with world() as w:
        run = await w.start()
        await w.say("Hello", ", ")
        last = await w.say("world")
        sink = await w.watch(snapshot=True)
        assert told(sink) == ["snapshot"]
        assert sink.last_id == w.id(last)
        assert sink.seen[0].json == {
            "from": w.id(run),
            "to": w.id(last),
            "parts": [{"event": "message", "data": "Hello, world"}],
        }
        await w.say("!")
        await w.end()
        assert told(sink) == ["snapshot", "!", "end"]
        late = await w.watch(snapshot=True)
        assert told(late) == ["snapshot", "end"]
        assert late.seen[0].json["parts"] == [{"event": "message", "data": "Hello, world!"}]


@virtual
async def test_snapshot_and_replay_agree_whatever_the_ring_holds() -> None:
    async with world(ring_session_bytes=600, page_records=3) as w:
        await w.start()
        for n in range(30):
            await w.say(f"{n} ", f"{n}! ")
        sink = await w.watch(snapshot=True)
        told(sink)
        assert sink.seen[0].json["parts"][0]["data"] == "".join(f"{n} {n}! " for n in range(30))


@virtual
async def test_without_a_run_or_with_a_cursor_there_is_none() -> None:
    async with world() as w:
        await w.append(codec.cancelled("later"))
        assert told(await w.watch(snapshot=True)) == []
        with pytest.raises(SessionUnknown):
            await w.hub.snapshot(KEY)
        run = await w.start()
        await w.say("a")
        assert told(await w.watch(snapshot=True, cursor=w.cursor(run))) == ["a"]


@virtual
async def test_a_cursor_that_cannot_be_followed_gets_the_gap_and_the_snapshot() -> None:
    async with world() as w:
        await w.start()
        await w.say("a")
        await w.say("b")
        sink = await w.watch(snapshot=True, cursor=Cursor("other", 4))
        assert told(sink) == ["gap", "snapshot"]
        assert sink.seen[1].json["parts"] == [{"event": "message", "data": "ab"}]


@virtual
async def test_only_the_last_run_and_only_what_reset_left() -> None:
    async with world() as w:
        await w.start()
        await w.say("old run")
        await w.end()
        await w.start()
        await w.say("wrong")
        await w.append(codec.reset("w-1", w.run, index=1))
        view = await w.hub.snapshot(KEY)
        assert view.body["parts"] == []
        last = await w.say("right")
        view = await w.hub.snapshot(KEY)
        assert view.body["parts"] == [{"event": "message", "data": "right"}]
        assert view.cursor == w.cursor(last)


@virtual
async def test_too_large_a_run_is_replayed_and_said() -> None:
    async with world(snapshot_bytes=500) as w:
        await w.start()
        await w.say("x" * 600)
        with pytest.raises(SnapshotTooLarge) as caught:
            await w.hub.snapshot(KEY)
        assert caught.value.limit_bytes == 500
        assert told(await w.watch(snapshot=True)) == ["start", "x" * 600]
        assert told(await w.watch(snapshot=True, start="now")) == []


@virtual
async def test_a_lost_producer_is_told_with_the_snapshot() -> None:
    async with world() as w:
        run = await w.start()
        await w.say("a")
        await w.append(codec.lost(run))
        assert told(await w.watch(snapshot=True)) == ["snapshot", "producer"]


@virtual
async def test_many_who_ask_at_once_read_once() -> None:
    async with world(page_records=5) as w:
        await w.start()
        for n in range(40):
            await w.say(f"{n}")
        await w.watch()
        before = w.source.faults.reads
        sinks = await asyncio.gather(*[w.watch(snapshot=True) for _ in range(50)])
        assert w.source.faults.reads - before <= 41 // 5 + 2
        assert {tuple(told(sink)) for sink in sinks} == {("snapshot",)}


@virtual
async def test_stale_reads_delay_a_snapshot_and_never_shorten_it() -> None:
    async with world(broker_wait_seconds=3.0) as w:
        await w.start()
        for n in range(9):
            await w.say(f"{n}")
        await w.watch()
        w.source.faults.stale_by, w.source.faults.stale_reads = 4, 3
        view = await w.hub.snapshot(KEY)
        assert view.body["parts"] == [{"event": "message", "data": "012345678"}]


@virtual
async def test_a_log_that_is_never_readable_to_its_end_is_said() -> None:
    async with world(broker_wait_seconds=3.0) as w:
        await w.start()
        await w.say("a")
        await w.watch()
        w.source.faults.stale_by, w.source.faults.stale_reads = 5, 1 << 30
        with pytest.raises(SourceUnavailable):
            await w.hub.snapshot(KEY)


@virtual
async def test_an_erased_run_has_no_snapshot() -> None:
    async with world() as w:
        await w.start()
        await w.say("secret")
        assert (await w.hub.snapshot(KEY)).body["parts"]
        await w.append(codec.erased())
        for hub in (w.hub, w.other):
            with pytest.raises(SessionUnknown):
                await hub.snapshot(KEY)


@virtual
async def test_state_is_derived_from_the_log() -> None:
    async with world() as w:
        with pytest.raises(SessionUnknown):
            await w.hub.state(KEY)
        run = await w.start(name="answer")
        last = await w.say("a")
        for hub in (w.hub, w.other):
            view = await hub.state(KEY)
            assert (view.status, view.run, view.name, view.cursor) == ("open", run, "answer", w.cursor(last))
            assert view.payload == {}
            assert view.updated_seconds > 0
        await w.watch()
        assert (await w.hub.state(KEY)).viewers == 1
        await w.append(codec.lost(run))
        assert (await w.hub.state(KEY)).status == "lost"
        await w.append(codec.failed("w-1", run, "quota", "try later"))
        view = await w.hub.state(KEY)
        assert (view.status, view.payload) == ("failed", {"reason": "quota", "message": "try later"})
