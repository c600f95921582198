"""Where a viewer begins, and what it is told first."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.wire import Cursor, SessionKey, codec
from holdfast_gateway.core.close_reasons import CloseReason, RefusalReason
from holdfast_gateway.ports import SourceUnavailable
from holdfast_gateway.runtime.api import Attached, NothingLeft, Refused, SessionUnknown
from tests.unit.runtime.clients import BufferSink, start
from tests.unit.runtime.virtual_time import now, settle, virtual
from tests.unit.runtime.world import KEY, told, world


@virtual
async def test_from_the_start_then_live_then_the_end() -> None:
    async with world() as w:
        await w.start()
        await w.say("a", "b")
        sink = await w.watch()
        assert told(sink) == ["start", "a", "b"]
        await w.say("c")
        assert told(sink) == ["start", "a", "b", "c"]
        await w.end()
        assert told(sink)[-1] == "end"
        assert sink.reason is CloseReason.ENDED
        assert bytes(sink.taken).startswith(b"retry: ")


@virtual
async def test_from_now_sets_the_cursor_at_once() -> None:
    async with world() as w:
        await w.start()
        last = await w.say("a")
        sink = await w.watch(start="now")
        assert (told(sink), sink.last_id) == ([], w.id(last))
        await w.say("b")
        assert told(sink) == ["b"]


@virtual
async def test_a_cursor_is_followed_exactly_also_within_a_message() -> None:
    async with world() as w:
        await w.start()
        two = await w.say("a", "b", "c")
        await w.say("d")
        assert told(await w.watch(cursor=w.cursor(two))) == ["d"]
        assert told(await w.watch(cursor=w.cursor(two, 0))) == ["b", "c", "d"]
        assert told(await w.watch(cursor=w.cursor(two, 1))) == ["c", "d"]
        assert told(await w.watch(cursor=w.cursor(two, 7))) == ["d"]
        assert told(await w.watch(cursor=w.cursor(0))) == ["start", "a", "b", "c", "d"]


@virtual
async def test_a_cursor_within_a_message_that_the_ring_has_lost() -> None:
    async with world(ring_session_bytes=600) as w:
        await w.start()
        two = await w.say("a", "b")
        for n in range(10):
            await w.say(f"{n}")
        assert told(await w.watch(cursor=w.cursor(two, 0))) == ["b", *map(str, range(10))]
        assert w.hub.counters.replay_pages > 0
        w.source.trim(KEY, two)
        sink = await w.watch(cursor=w.cursor(two, 0))
        await asyncio.sleep(2)
        assert told(sink) == ["gap", *map(str, range(10))]


@virtual
async def test_the_tail_of_a_session_that_is_over_is_204() -> None:
    async with world() as w:
        await w.start()
        last = await w.end()
        assert isinstance(await w.hub.attach(KEY, cursor=w.cursor(last)), NothingLeft)
        sink = await w.watch(cursor=w.cursor(last), follow=True)
        assert (told(sink), sink.reason, sink.last_id) == ([], None, w.id(last))
        assert isinstance(await w.hub.attach(KEY, cursor=w.cursor(last - 1)), Attached)
        await w.start()
        assert told(sink) == ["start"]


@virtual
async def test_204_is_confirmed_by_the_leader() -> None:
    """The feed has missed the next run's beginning; the leader has not."""
    async with world() as w:
        await w.start()
        last = await w.end()
        await w.watch(follow=True)
        w.source.faults.drop_live = lambda record: True
        await w.source.append(KEY, codec.start("w-2"), None)
        sink = await w.watch(cursor=w.cursor(last))
        assert (told(sink), sink.reason) == ([], None), "it is not over, whatever the feed says"
        await asyncio.sleep(1)
        assert told(sink) == ["start"]


@virtual
async def test_several_runs_are_one_stream_that_ends_at_the_last() -> None:
    async with world() as w:
        for run in ("one", "two", "three"):
            await w.start()
            await w.say(run)
            await w.end()
        sink = await w.watch()
        assert told(sink) == ["start", "one", "end", "start", "two", "end", "start", "three", "end"]
        assert sink.reason is CloseReason.ENDED


@virtual
async def test_follow_stays_for_the_next_run() -> None:
    async with world() as w:
        await w.start()
        await w.end()
        sink = await w.watch(follow=True)
        await w.start()
        await w.say("next")
        assert told(sink) == ["start", "end", "start", "next"]
        assert sink.reason is None


@virtual
async def test_a_foreign_and_a_future_cursor_are_told_and_start_over() -> None:
    async with world() as w:
        await w.start()
        last = await w.say("a")
        for cursor, reason in ((Cursor("other1", 1), "foreign"), (w.cursor(last + 100), "future")):
            sink = await w.watch(cursor=cursor)
            assert told(sink) == ["gap", "start", "a"]
            assert sink.seen[0].json == {
                "reason": reason,
                "requested": str(cursor),
                "earliest": w.id(1),
                "latest": w.id(last),
            }
        assert w.hub.counters.gaps == {"foreign": 1, "future": 1}


@virtual
async def test_another_sessions_sequence_is_foreign() -> None:
    async with world() as w:
        await w.start()
        other = await w.append(codec.start("x"), SessionKey.of("other"))
        await w.say("a")
        sink = await w.watch(cursor=w.cursor(other))
        assert told(sink) == ["gap", "start", "a"]
        assert sink.seen[0].json["reason"] == "foreign"


@virtual
async def test_a_trimmed_cursor_is_told_and_goes_on_with_what_is_left() -> None:
    async with world() as w:
        await w.start()
        old = await w.say("a")
        await w.say("b")
        left = await w.say("c")
        w.source.trim(KEY, left - 1)
        sink = await w.watch(cursor=w.cursor(old))
        assert [told(sink)[0], told(sink)[-1]] == ["gap", "c"]
        gap = sink.seen[0].json
        assert (gap["reason"], gap["requested"], gap["latest"]) == ("trimmed", w.id(old), w.id(left))


@virtual
async def test_a_cursor_is_not_judged_by_a_stale_replica() -> None:
    async with world(ring_session_bytes=600) as w:
        await w.start()
        for n in range(8):
            await w.say(f"{n}")
        await w.watch()
        w.source.faults.stale_by, w.source.faults.stale_reads = 8, 4
        sink = await w.watch(cursor=w.cursor(3))
        await asyncio.sleep(2)
        assert told(sink) == [str(n) for n in range(2, 8)]


@virtual
async def test_a_feed_that_is_behind_the_cursor_is_waited_for() -> None:
    async with world() as w:
        await w.start()
        await w.watch()
        w.source.faults.drop_live = lambda record: True
        seen_elsewhere = await w.say("a")
        sink = await w.watch(cursor=w.cursor(seen_elsewhere))
        assert told(sink) == []
        await w.say("b")
        await asyncio.sleep(1)
        assert told(sink) == ["b"]


@virtual
async def test_an_unknown_session_is_held_for_its_producer() -> None:
    async with world() as w:
        begin = now()
        with pytest.raises(SessionUnknown) as caught:
            await w.hub.attach(KEY, wait_seconds=7.0)
        assert now() - begin == pytest.approx(7.0, abs=0.1)
        assert caught.value.key == KEY
        waiting = asyncio.ensure_future(w.hub.attach(KEY, wait_seconds=7.0))
        await asyncio.sleep(3)
        await w.start()
        outcome = await waiting
        assert isinstance(outcome, Attached)
        assert told(start(outcome.viewer)) == ["start"]
        await asyncio.sleep(120)


@virtual
async def test_sessions_that_hold_nothing_are_not_kept() -> None:
    async with world() as w:
        with pytest.raises(SessionUnknown):
            await w.hub.state(KEY)
        await asyncio.sleep(2)
        assert w.hub.sessions == 0


@virtual
async def test_a_broker_that_is_away_is_said_within_the_bound() -> None:
    async with world(broker_wait_seconds=3.0) as w:
        await w.start()
        w.source.faults.outage = True
        begin = now()
        with pytest.raises(SourceUnavailable):
            await w.hub.attach(KEY)
        assert now() - begin <= 3.1
        assert w.hub.viewers == 0


@virtual
async def test_a_log_that_cannot_be_read_is_said_within_the_bound() -> None:
    async with world(broker_wait_seconds=3.0) as w:
        await w.start()
        attaching = asyncio.ensure_future(w.hub.attach(KEY, start="now"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        w.source.faults.outage = True
        with pytest.raises(SourceUnavailable):
            await attaching
        w.source.faults.outage = False
        assert told(await w.watch()) == ["start"]


@virtual
async def test_cancelling_an_attach_leaves_nothing_behind() -> None:
    async with world() as w:
        attaching = asyncio.ensure_future(w.hub.attach(KEY, wait_seconds=60))
        await asyncio.sleep(1)
        assert w.hub.viewers == 1, "its place is taken meanwhile"
        attaching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attaching
        assert w.hub.viewers == 0
        await asyncio.sleep(2)
        assert w.hub.sessions == 0


@virtual
async def test_limits_refuse_with_a_body_that_says_when_to_come_back() -> None:
    async with world(max_viewers=2, max_viewers_per_session=1) as w:
        await w.start()
        await w.append(codec.start("x"), SessionKey.of("b"))
        await w.append(codec.start("x"), SessionKey.of("c"))
        assert isinstance(await w.hub.attach(KEY), Attached)
        full = await w.hub.attach(KEY)
        assert isinstance(full, Refused)
        assert full.reason is RefusalReason.SESSION_FULL
        assert b"retry: " in full.body
        assert isinstance(await w.hub.attach(SessionKey.of("b")), Attached)
        crowded = await w.hub.attach(SessionKey.of("c"))
        assert isinstance(crowded, Refused)
        assert crowded.reason is RefusalReason.POD_FULL
        assert w.hub.counters.refused == {"session_full": 1, "pod_full": 1}


@virtual
async def test_a_viewer_that_is_never_started_is_let_go() -> None:
    async with world() as w:
        await w.start()
        outcome = await w.hub.attach(KEY)
        assert isinstance(outcome, Attached)
        await asyncio.sleep(12)
        assert w.hub.viewers == 0
        sink = BufferSink()
        outcome.viewer.start(sink)
        assert sink.reason is CloseReason.GONE
        with pytest.raises(RuntimeError):
            outcome.viewer.start(sink)


@virtual
async def test_a_lost_producer_is_told_to_whoever_joins_later() -> None:
    async with world() as w:
        run = await w.start()
        lost = await w.append(codec.lost(run))
        sink = await w.watch(start="now")
        assert told(sink) == ["producer"]
        assert sink.seen[0].json == {"run": run, "state": "lost"}
        assert told(await w.watch(cursor=w.cursor(lost))) == ["producer"]
        assert told(await w.watch(cursor=w.cursor(run))) == ["producer"], "by the record itself, once"
        await w.say("again")
        assert told(sink) == ["producer", "producer", "again"]
        assert told(await w.watch(start="now")) == []


@virtual
async def test_an_erased_session_shows_nothing_of_before() -> None:
    async with world() as w:
        await w.start()
        secret = await w.say("secret")
        slow = await w.watch(mark_bytes=1)
        await w.append(codec.erased())
        slow.take_all()
        await asyncio.sleep(2)
        slow.take_all()
        assert told(slow) == ["gap", "failed"]
        assert slow.seen[0].json["reason"] == "erased"
        late = await w.watch(cursor=w.cursor(secret))
        assert told(late) == ["failed"]
        early = await w.watch(cursor=w.cursor(1))
        await asyncio.sleep(2)
        assert told(early) == ["gap", "failed"]
        begin = await w.watch()
        await asyncio.sleep(2)
        assert b"secret" not in bytes(begin.taken + begin.buffer)


@virtual
async def test_a_replaced_stream_moves_viewers_and_starts_over() -> None:
    async with world() as w:
        await w.start()
        last = w.cursor(await w.say("a"))
        sink = await w.watch()
        w.source.replace()
        await settle()
        assert sink.reason is CloseReason.MOVED
        assert w.hub.sessions == 0
        await w.start()
        again = await w.watch(cursor=last)
        assert told(again) == ["gap", "start"]
        assert again.seen[0].json["reason"] == "foreign"


@virtual
async def test_a_replacement_while_somebody_waits_is_said() -> None:
    async with world() as w:
        waiting = asyncio.ensure_future(w.hub.attach(KEY, wait_seconds=30))
        await asyncio.sleep(1)
        w.source.replace()
        with pytest.raises((SourceUnavailable, SessionUnknown)):
            await waiting


@virtual
async def test_the_feed_goes_after_the_linger_and_comes_back() -> None:
    async with world(linger_seconds=30.0) as w:
        await w.start()
        sink = await w.watch()
        assert sink.viewer is not None
        sink.viewer.detach()
        await asyncio.sleep(25)
        assert w.hub.sessions == 1
        await asyncio.sleep(7)
        assert w.hub.sessions == 0
        assert told(await w.watch()) == ["start"]


@virtual
async def test_after_close_nobody_is_admitted() -> None:
    async with world() as w:
        await w.start()
        sink = await w.watch()
        await w.hub.close()
        assert sink.reason is CloseReason.STOPPED
        assert isinstance(await w.hub.attach(KEY), Refused)
        with pytest.raises(SourceUnavailable):
            await w.hub.state(KEY)


@virtual
async def test_the_tail_of_an_open_run_is_no_204() -> None:
    async with world() as w:
        await w.start()
        last = await w.say("a")
        sink = await w.watch(cursor=w.cursor(last))
        assert (told(sink), sink.last_id, sink.reason) == ([], w.id(last), None)
        await w.say("b")
        assert told(sink) == ["b"]


@virtual
async def test_a_void_record_that_was_waited_for_ends_who_waits() -> None:
    """The leader shows a record behind the end; it turns out to mean nothing, and the stream ends after all."""
    async with world() as w:
        await w.start()
        last = await w.end()
        await w.watch(follow=True)
        w.source.faults.drop_live = lambda record: True
        await w.source.append(KEY, codec.alive("w-1", w.run), None)
        sink = await w.watch(cursor=w.cursor(last))
        assert sink.reason is None
        await asyncio.sleep(1)
        assert sink.reason is CloseReason.ENDED


@virtual
async def test_a_stale_replica_is_no_reason_for_a_gap_within_a_message() -> None:
    async with world(ring_session_bytes=600) as w:
        await w.start()
        two = await w.say("a", "b")
        for n in range(10):
            await w.say(f"{n}")
        await w.watch()
        w.source.faults.stale_by, w.source.faults.stale_reads = 12, 3
        sink = await w.watch(cursor=w.cursor(two, 0))
        await asyncio.sleep(1)
        assert told(sink) == ["b", *map(str, range(10))]


@virtual
async def test_states_that_are_forgotten_are_folded_again_for_a_place_within_a_message() -> None:
    async with world(ring_session_bytes=600) as w:
        await w.start()
        await w.watch(follow=True)
        w.hub._sessions[KEY].core.history.max_changes = 4
        two = await w.say("a", "b")
        for _ in range(6):
            await w.end()
            await w.start()
        sink = await w.watch(cursor=w.cursor(two, 0))
        await asyncio.sleep(1)
        assert told(sink) == ["b", *["end", "start"] * 6]
