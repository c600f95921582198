"""Records in, state and frames out."""

from __future__ import annotations

from tests.unit.core.logs import Script, core
from tests.unit.runtime.clients import parse

from holdfast.wire import Event, Phase, codec, decode
from holdfast_gateway.core.log import ORIGIN
from holdfast_gateway.core.session import BEFORE_RING
from holdfast_gateway.core.snapshot import SnapshotBuilder
from holdfast_gateway.core.viewer import Place


def told(session, mark=ORIGIN) -> list[tuple[str, str | None]]:  # type: ignore[no-untyped-def]
    data = b""
    while mark is not session.log.tail:
        piece, mark = session.log.since(mark)
        data += piece.data
    return [(s.event, s.id) for s in parse(data)[0]]


def test_s1_frames_in_order_void_records_without() -> None:
    script = Script()
    script.start()
    script.say("a", "b")
    script.add(codec.alive("w", script.run))
    script.add(codec.data([Event(b"x")], writer="zombie", run=1))
    script.add(codec.Draft(codec.Kind.DATA, b"", {"Holdfast-Kind": "from-the-future"}))
    script.end()
    session = core(*script.records)
    assert told(session) == [
        ("session.start", "m1-2"),
        ("message", "m1-4.0"),
        ("message", "m1-4"),
        ("session.end", "m1-12"),
    ]
    tally = session.tally
    assert (tally.records, tally.void_records, tally.unknown_kinds, tally.malformed) == (6, 2, 1, 0)


def test_malformed_and_markers_are_counted_apart() -> None:
    session = core(
        decode(1, {"Holdfast-Lengths": "99"}, b"x"),
        decode(2, {"Nats-Marker-Reason": "MaxAge"}, b""),
    )
    assert (session.tally.malformed, session.tally.void_records, session.tally.unknown_kinds) == (1, 1, 0)


def test_s2_over_needs_terminal_catch_up_and_nothing_announced() -> None:
    script = Script()
    script.start()
    session = core(*script.records)
    assert not session.over
    session.apply(script.end())
    assert session.over
    session.caught_up = False
    assert not session.over
    session.caught_up = True
    session.expect(script.last + 2)
    assert not session.over
    session.apply(script.start())
    assert not session.over
    session.apply(script.end())
    assert session.over


def test_s3_erasure_empties_the_ring_and_the_snapshot() -> None:
    script = Script()
    script.start()
    session = core(*script.records)
    session.snapshot = SnapshotBuilder(1000)
    session.apply(script.say("secret"))
    behind = session.log.place(2)
    erased = script.add(codec.erased())
    session.apply(erased)
    assert behind is not None
    assert session.log.since(behind) is None
    assert session.erased_at == erased.sequence
    assert told(session, session.erased_mark) == [("session.failed", "m1-6")]
    assert not session.snapshot.usable(session.state)
    again = script.add(codec.erased())
    session.apply(again)
    assert len(session.log) == 0


def test_s4_a_gap_is_told_in_place_and_the_run_begins_anew() -> None:
    script = Script()
    script.start()
    session = core(*script.records)
    session.snapshot = SnapshotBuilder(1000)
    session.gap(40)
    script.last = 38
    session.apply(script.say("later"))
    assert told(session) == [
        ("session.start", "m1-2"),
        ("session.gap", None),
        ("message", "m1-40"),
    ]
    assert session.state.phase is Phase.OPEN
    assert session.snapshot.incomplete
    # Who has everything before the gap is still told of it.
    assert told(session, session.log.place(2))[0] == ("session.gap", None)


def test_s4_a_gap_before_the_first_record_says_nothing() -> None:
    session = core()
    session.gap(40)
    assert session.log.tail is ORIGIN


def test_the_lost_producer_is_known_at_any_place() -> None:
    script = Script()
    script.start()
    script.say("a")
    lost = script.add(codec.lost(script.run))
    back = script.say("b")
    session = core(*script.records)
    assert session.lost_at(lost.sequence - 1) is None
    assert session.lost_at(lost.sequence) is not None
    assert session.lost_at(back.sequence) is None


def test_a_place_before_the_ring_keeps_its_sequence() -> None:
    script = Script()
    script.start()
    script.say("a")
    script.say("b")
    session = core(*script.records)
    session.log.evict_oldest()
    session.log.evict_oldest()
    mark = session.place(3)
    assert (mark.index, mark.sequence) == (BEFORE_RING, 3)
    assert session.log.since(mark) is None
    assert session.place(6) is session.log.tail


def test_v2_a_viewer_is_over_at_the_tail_of_a_session_that_is() -> None:
    script = Script()
    script.start()
    script.end()
    session = core(*script.records)
    assert Place(session.log.tail, follow=False).over(session)
    assert not Place(session.log.tail, follow=True).over(session)
    assert not Place(ORIGIN, follow=False).over(session)


def test_v3_lag_is_what_came_while_nothing_was_read() -> None:
    script = Script()
    script.start()
    session = core(*script.records)
    place = Place(ORIGIN, follow=False)
    assert not place.stalled(session.log.tail, 100)
    session.apply(script.say("x" * 50))
    assert not place.stalled(session.log.tail, 100)
    session.apply(script.say("x" * 50))
    assert place.stalled(session.log.tail, 100)
    place.flows()
    assert not place.stalled(session.log.tail, 100)


def test_a_gap_without_a_snapshot() -> None:
    script = Script()
    script.start()
    session = core(*script.records)
    session.gap(40)
    assert [event for event, _ in told(session)] == ["session.start", "session.gap"]


def test_a_trimmed_beginning_is_told_in_front_and_passed_by_who_misses_nothing() -> None:
    script = Script()
    script.start()
    script.say("a")
    script.say("b")
    session = core(*script.records[1:])
    assert [event for event, _ in told(session)] == ["session.gap", "message", "message"]
    assert session.place(2) is session.front
    assert [event for event, _ in told(session, session.place(2))] == ["message", "message"]
    assert session.place(0) is ORIGIN


def test_a_trimmed_beginning_that_tells_nothing_else_is_only_the_gap() -> None:
    script = Script()
    script.start()
    script.add(codec.alive("w", script.run))
    session = core(*script.records[1:])
    assert told(session) == [("session.gap", None)]
