"""Frames: ids, items, control events, and the few bytes that are not an event."""

from __future__ import annotations

import json

import pytest
from tests.unit.runtime.clients import parse

from holdfast.wire import Control, Event
from holdfast_gateway.core import sse
from holdfast_gateway.core.close_reasons import CloseReason, RefusalReason
from holdfast_gateway.core.pieces import Piece, chunk


def frames(*outputs: Event | Control) -> sse.Encoded:
    return sse.encode("m1", 7, outputs)


def test_one_event_carries_the_bare_id() -> None:
    assert frames(Event(b"hi")) == (b"id: m1-7\ndata: hi\n\n", ())
    assert frames(Event(b"hi", "token")) == (b"id: m1-7\nevent: token\ndata: hi\n\n", ())


def test_items_are_numbered_and_the_last_one_is_the_whole_message() -> None:
    encoded = frames(Event(b"a"), Event(b"b", "t"), Event(b"c"))
    assert [s.id for s in parse(encoded.data)[0]] == ["m1-7.0", "m1-7.1", "m1-7"]
    assert [parse(sse.rest_after(encoded, item))[0][0].id for item in (0, 1)] == ["m1-7.1", "m1-7"]
    assert sse.rest_after(encoded, 2) == b"" == sse.rest_after(encoded, 99)


def test_what_is_no_place_in_the_log_has_no_id() -> None:
    back = Control("session.producer", {"state": "back"}, counted=False)
    encoded = frames(back, Event(b"a"), Event(b"b"))
    assert [s.id for s in parse(encoded.data)[0]] == [None, "m1-7.0", "m1-7"]
    assert [s.data for s in parse(sse.rest_after(encoded, 0))[0]] == ["b"]
    assert frames(back).data == b'event: session.producer\ndata: {"state":"back"}\n\n'


def test_a_void_record_has_no_frames() -> None:
    assert frames() == (b"", ())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a\r\nb\rc\nd", "a\nb\nc\nd"),
        (b"\n", "\n"),
        ("naïve\n日本".encode(), "naïve\n日本"),
        (b"\xff\xfeok", "\ufffd\ufffdok"),
    ],
)
def test_data_arrives_as_the_contract_says(data: bytes, text: str) -> None:
    assert parse(frames(Event(data)).data)[0][0].data == text == Event(data).text


def test_control_events_are_ascii_json() -> None:
    told = frames(Control("session.failed", {"message": "\ud800\u2028\n"})).data
    assert told.isascii()
    assert parse(told)[0][0].json == {"message": "\ud800\u2028\n"}


def test_opening_sets_the_cursor_without_dispatching() -> None:
    assert sse.opening(900) == b"retry: 900\n\n"
    assert parse(sse.opening(900, "m1-7")) == ([], "m1-7")


def test_gap_producer_and_snapshot() -> None:
    ((gap,), last) = parse(sse.gap("trimmed", "m1-1", "m1-5", "m1-9"))
    assert (gap.event, gap.id, last) == ("session.gap", None, "")
    assert gap.json == {"reason": "trimmed", "requested": "m1-1", "earliest": "m1-5", "latest": "m1-9"}
    ((lost,), _) = parse(sse.producer_lost(4))
    assert (lost.event, lost.json) == ("session.producer", {"run": 4, "state": "lost"})
    ((whole,), last) = parse(sse.snapshot("m1-7", {"parts": [{"data": "ü\n"}]}))
    assert (whole.event, last, json.loads(whole.data)) == ("session.snapshot", "m1-7", {"parts": [{"data": "ü\n"}]})


def test_comments_dispatch_nothing() -> None:
    for words in (sse.HEARTBEAT, sse.farewell(CloseReason.LAGGING), sse.refusal(str(RefusalReason.POD_FULL), 700)):
        assert parse(words) == ([], "")
    assert sse.farewell(CloseReason.LAGGING) == b": closed lagging\n\n"
    assert b"retry: 700" in sse.refusal("pod_full", 700)


def test_reasons_are_words_and_say_whether_to_come_back() -> None:
    assert [reason for reason in CloseReason if not reason.resume] == [CloseReason.ENDED]
    assert all(str(reason).isalpha() for reason in CloseReason)
    assert len({str(reason) for reason in CloseReason}) == len(CloseReason)


def test_a_piece_is_chunked_once() -> None:
    piece = Piece(b"x" * 300)
    assert piece.chunk == b"12c\r\n" + b"x" * 300 + b"\r\n" == chunk(piece.data)
    assert piece.chunk is piece.chunk
