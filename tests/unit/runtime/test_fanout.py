"""The pass: shared bytes, slices, slow viewers, heartbeats, going away."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from holdfast.wire import Cursor, Event, SessionKey, codec
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.ports import Page, SourceUnavailable
from holdfast_gateway.runtime import fanout
from holdfast_gateway.runtime.api import Attached, HubSettings, Refused
from holdfast_gateway.runtime.tasks import OwnedTasks
from tests.unit.runtime.clients import BufferSink, start
from tests.unit.runtime.virtual_time import settle, virtual
from tests.unit.runtime.world import KEY, told, world


@virtual
async def test_f2_all_who_stand_at_one_place_get_the_same_object() -> None:
    pieces: list[Piece] = []

    class Keeping(BufferSink):
        def write(self, piece: Piece) -> None:
            pieces.append(piece)
            super().write(piece)

    async with world() as w:
        await w.start()
        for _ in range(20):
            outcome = await w.hub.attach(KEY)
            assert isinstance(outcome, Attached)
            outcome.viewer.start(Keeping())
        pieces.clear()
        await w.say("once")
        assert len(pieces) == 20
        assert len({id(piece) for piece in pieces}) == 1


@virtual
async def test_f2_what_arrives_during_a_pass_is_one_write_of_the_next() -> None:
    async with world() as w:
        await w.start()
        sink = await w.watch()
        before = len(sink.writes)
        drafts = [codec.data([Event(b"%d" % n)], writer="w-1", run=w.run) for n in range(10)]
        await asyncio.gather(*[w.source.append(KEY, draft, None) for draft in drafts])
        await settle()
        assert told(sink)[-10:] == [str(n) for n in range(10)]
        assert len(sink.writes) - before == 1


@virtual
async def test_f1_ten_thousand_viewers_do_not_delay_another_session() -> None:
    """Between the slices of the large session's pass the small one is served."""
    order: list[str] = []

    class Noting(BufferSink):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def write(self, piece: Piece) -> None:
            order.append(self.name)

    async with world() as w:
        small = SessionKey.of("small")
        await w.start()
        await w.append(codec.start("x"), small)
        for key, count in ((KEY, 5_000), (small, 1)):
            for _ in range(count):
                outcome = await w.hub.attach(key, start="now")
                assert isinstance(outcome, Attached)
                outcome.viewer.start(Noting(str(key.session)))
        order.clear()
        await asyncio.gather(
            w.source.append(KEY, codec.data([Event(b"x")], writer="w-1", run=w.run), None),
            w.source.append(small, codec.data([Event(b"x")], writer="x"), None),
        )
        await settle(60)
        assert len(order) == 5_001
        assert order.index("small") <= 2 * fanout.SLICE_VIEWERS


@virtual
async def test_f3_a_full_buffer_is_passed_over_and_catches_up_by_itself() -> None:
    async with world() as w:
        await w.start()
        slow, quick = await w.watch(mark_bytes=10), await w.watch()
        slow.take()
        await settle()
        for n in range(20):
            await w.say(f"{n}")
        await w.end()
        assert len(told(quick)) == 22
        assert slow.reason is None
        slow.take_all()
        assert told(slow) == told(quick)
        assert slow.reason is CloseReason.ENDED
        assert w.hub.counters.skips > 0


@virtual
async def test_f3_past_the_lag_bound_it_is_closed_and_comes_back() -> None:
    async with world(lag_bytes=2_000) as w:
        await w.start()
        slow = await w.watch(mark_bytes=10)
        slow.take()
        for n in range(40):
            await w.say(f"{n}:" + "x" * 100)
        assert slow.reason is CloseReason.LAGGING
        slow.take()
        again = await w.watch(cursor=Cursor.parse(slow.last_id))
        assert [t.partition(":")[0] for t in told(slow)[1:] + told(again)] == [str(n) for n in range(40)]


@virtual
async def test_f4_who_stands_before_the_ring_reads_the_log_with_others_once() -> None:
    async with world(ring_session_bytes=2_000, page_records=8) as w:
        await w.start()
        for n in range(64):
            await w.say(f"{n}")
        await w.watch()
        before = w.source.faults.reads
        sinks = await asyncio.gather(*[w.watch() for _ in range(200)])
        for _ in range(20):
            await settle()
        assert {tuple(told(sink)) for sink in sinks} == {("start", *map(str, range(64)))}
        assert w.source.faults.reads - before <= 2 * 65 // 8


@virtual
async def test_f4_a_slow_viewer_before_the_ring_costs_nothing_until_it_reads() -> None:
    async with world(ring_session_bytes=1_000, lag_bytes=1 << 20, page_records=4) as w:
        await w.start()
        slow = await w.watch(mark_bytes=10)
        for n in range(50):
            await w.say(f"{n}")
        pages = w.hub.counters.replay_pages
        await asyncio.sleep(5)
        assert w.hub.counters.replay_pages == pages
        await w.end()
        for _ in range(80):
            slow.take()
            await settle()
        assert told(slow) == ["start", *map(str, range(50)), "end"]


@virtual
async def test_f4_a_viewer_before_the_ring_is_bounded_too() -> None:
    async with world(ring_session_bytes=1_000, lag_bytes=3_000, page_records=4) as w:
        await w.start()
        slow = await w.watch(mark_bytes=10)
        for n in range(20):
            await w.say(f"{n}")
        slow.take()
        await asyncio.sleep(2)
        for n in range(100):
            await w.say(f"{n}" + "x" * 50)
        await asyncio.sleep(2)
        assert slow.reason is CloseReason.LAGGING


@virtual
async def test_f4_an_outage_delays_the_catch_up_and_a_trim_is_told() -> None:
    async with world(ring_session_bytes=1_000, page_records=4) as w:
        await w.start()
        last = [await w.say(f"{n}") for n in range(50)][-1]
        slow = await w.watch(mark_bytes=10)
        w.source.faults.outage = True
        slow.take()
        await asyncio.sleep(3)
        w.source.faults.outage = False
        w.source.trim(KEY, last - 20)
        for _ in range(60):
            slow.take()
            await asyncio.sleep(0.2)
        got = told(slow)
        assert "gap" in got
        assert got[-1] == "49"
        behind = got[got.index("gap") + 1 :]
        numbers = [int(t) for t in behind if t.isdigit()]
        assert numbers == list(range(numbers[0], 50))


@virtual
async def test_f4_a_log_that_is_gone_altogether_is_told_and_the_ring_is_given() -> None:
    async with world(ring_session_bytes=1_000, page_records=4) as w:
        await w.start()
        last = [await w.say(f"{n}") for n in range(50)][-1]
        slow = await w.watch(mark_bytes=10)
        w.source.trim(KEY, last)
        for _ in range(60):
            slow.take()
            await asyncio.sleep(0.2)
        got = told(slow)
        assert got[-1] == "49"
        assert "gap" in got


@virtual
async def test_f4_a_record_that_no_replica_has_is_told_in_the_end() -> None:
    """A damaged log: the page before it ends there, and the place behind it is a gap, once, after patience."""
    async with world(ring_session_bytes=1_000, page_records=4) as w:
        await w.start()
        sequences = [await w.say(f"{n}") for n in range(30)]
        await w.watch()
        read, missing = w.source.read, sequences[5]

        async def damaged(key: SessionKey, start: int, limit: int = 64) -> Page:
            page = await read(key, start, limit)
            return Page(tuple(r for r in page.records if r.sequence != missing), page.pending)

        w.source.read = damaged  # type: ignore[method-assign]
        sink = await w.watch()
        await asyncio.sleep(10)
        assert told(sink) == ["start", *map(str, range(5)), "gap", *map(str, range(6, 30))]


@virtual
async def test_f4_a_purged_log_is_told_to_whoever_wanted_its_beginning() -> None:
    async with world(ring_session_bytes=1_000, page_records=4) as w:
        await w.start()
        last = [await w.say(f"{n}") for n in range(30)][-1]
        await w.watch()
        w.source.trim(KEY, last)
        sink = await w.watch()
        await asyncio.sleep(5)
        got = told(sink)
        assert (got[0], got[-1]) == ("gap", "29")
        numbers = [int(t) for t in got[1:]]
        assert numbers == list(range(numbers[0], 30))


@virtual
async def test_f4_states_the_history_has_forgotten_are_folded_again() -> None:
    async with world(ring_session_bytes=600, page_records=4) as w:
        await w.start()
        keep = await w.watch(follow=True)
        w.hub._sessions[KEY].core.history.max_changes = 4
        for n in range(10):
            await w.say(f"{n}")
            await w.end()
            await w.start()
        sink = await w.watch(follow=True)
        await asyncio.sleep(1)
        assert told(sink) == told(keep)
        from_middle = await w.watch(cursor=w.cursor(8), follow=True)
        await asyncio.sleep(1)
        assert told(from_middle) == told(keep)[8:]


@virtual
async def test_heartbeats_reach_silent_sessions_only() -> None:
    async with world(heartbeat_seconds=15.0, linger_seconds=5.0) as w:
        await w.start(lease=None)
        sinks = [await w.watch() for _ in range(40)]
        full = await w.watch(mark_bytes=1)
        for sink in sinks:
            sink.take()
        await asyncio.sleep(15)
        assert not any(sink.buffer for sink in sinks)
        held = bytes(full.buffer)
        await asyncio.sleep(15.9)
        assert {bytes(sink.buffer) for sink in sinks} == {b":\n\n"}
        assert bytes(full.buffer) == held


@virtual
async def test_a_drain_is_spread_over_its_window() -> None:
    async with world() as w:
        await w.start()
        sinks = [await w.watch() for _ in range(100)]
        unstarted = await w.hub.attach(KEY)
        assert isinstance(unstarted, Attached)
        draining = asyncio.ensure_future(w.hub.drain(10.0))
        gone = []
        for _ in range(9):
            await asyncio.sleep(1)
            gone.append(sum(sink.reason is CloseReason.DRAINING for sink in sinks))
        assert all(5 <= b - a <= 16 for a, b in pairwise(gone)), gone
        refused = await w.hub.attach(KEY)
        assert isinstance(refused, Refused)
        assert w.hub.draining
        await draining
        assert all(sink.reason is CloseReason.DRAINING for sink in sinks)
        assert w.hub.viewers == 0
        late = start(unstarted.viewer)
        assert late.reason is CloseReason.DRAINING
        await w.hub.drain(10.0)


@virtual
async def test_a_drain_waits_for_requests_under_way() -> None:
    async with world() as w:
        asking = asyncio.ensure_future(w.hub.attach(KEY, wait_seconds=3.0))
        await asyncio.sleep(0.1)
        draining = asyncio.ensure_future(w.hub.drain(0.0))
        await asyncio.sleep(1)
        assert not draining.done()
        await asyncio.wait([asking])
        await draining
        assert asking.exception() is not None


@virtual
async def test_a_request_that_waited_into_the_drain_is_refused() -> None:
    async with world() as w:
        asking = asyncio.ensure_future(w.hub.attach(KEY, wait_seconds=30.0))
        await asyncio.sleep(1)
        draining = asyncio.ensure_future(w.hub.drain(0.0))
        await asyncio.sleep(1)
        await w.start()
        outcome = await asking
        assert isinstance(outcome, Refused)
        async with asyncio.timeout(1):
            await draining


@virtual
async def test_closing_while_a_session_is_opened_is_said_and_cancels_nobody() -> None:
    async with world() as w:
        await w.start()
        forever = asyncio.get_running_loop().create_future()
        w.source.incarnation = lambda key: forever  # type: ignore[assignment]
        asking = asyncio.ensure_future(w.hub.state(KEY))
        await settle()
        await w.hub.close()
        with pytest.raises(SourceUnavailable):
            await asking


@virtual
async def test_background_work_that_fails_is_seen() -> None:
    failures: list[int] = []
    tasks = OwnedTasks(lambda: failures.append(1))

    async def broken() -> None:
        raise RuntimeError("a bug")

    async def endless() -> None:
        await asyncio.get_running_loop().create_future()

    logging.getLogger("holdfast.runtime").disabled = True
    try:
        tasks.spawn(broken())
        waiting = tasks.spawn(endless())
        await settle()
        assert failures == [1]
        await tasks.close()
        assert waiting.cancelled()
        late = tasks.spawn(endless())
        await settle()
        assert late.cancelled()
        await tasks.close()
        assert len(tasks) == 0
    finally:
        logging.getLogger("holdfast.runtime").disabled = False


def test_defaults_are_the_documented_ones() -> None:
    made = HubSettings()
    assert (made.ring_session_bytes, made.ring_pod_bytes, made.lag_bytes) == (4 << 20, 256 << 20, 16 << 20)
    assert (made.linger_seconds, made.heartbeat_seconds, made.grace_seconds, made.idle_seconds) == (30, 15, 20, 600)
    with pytest.raises(AttributeError):
        made.lag_bytes = 1  # type: ignore[misc]
