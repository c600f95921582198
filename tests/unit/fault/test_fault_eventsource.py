"""The viewers' own parsers: the event-stream rules of the HTML standard and HTTP/1.1 framing, cut at any byte."""

from __future__ import annotations

import pytest
from bench.faults.eventsource import Block, EventSourceParser
from bench.faults.http_response import BadResponse, HttpResponse
from hypothesis import given
from hypothesis import strategies as st


def parsed(stream: bytes, last_event_id: str = "") -> list[Block]:
    return EventSourceParser(last_event_id).feed(stream)


def test_an_event_with_all_its_fields() -> None:
    block = Block("token", "a\nb", "i-7", "i-7", 1500, 1)
    assert parsed(b": hello\nretry: 1500\nevent: token\nid: i-7\ndata: a\ndata:b\n\n") == [block]


def test_an_id_without_data_sets_the_cursor_and_dispatches_nothing() -> None:
    parser = EventSourceParser()
    (block,) = parser.feed(b"id: i-9\n\n")
    assert (block.data, block.last_event_id, parser.last_event_id) == (None, "i-9", "i-9")


def test_the_cursor_persists_and_moves_only_at_the_blank_line() -> None:
    parser = EventSourceParser("i-1")
    assert parser.feed(b"data: x\n\n")[0].last_event_id == "i-1"
    parser.feed(b"id: i-2\ndata: y\n")
    assert parser.last_event_id == "i-1"
    parser.feed(b"\n")
    assert parser.last_event_id == "i-2"


def test_an_unfinished_event_is_not_dispatched() -> None:
    assert parsed(b"id: i-1\ndata: whole\n\nid: i-2\ndata: cut") == [Block("message", "whole", "i-1", "i-1", None, 0)]


def test_an_id_with_nul_and_a_retry_that_is_no_number_are_ignored() -> None:
    (block,) = parsed(b"id: a\0b\nretry: 1s\ndata: x\n\n", "before")
    assert (block.id_field, block.last_event_id, block.retry_milliseconds) == (None, "before", None)


def test_empty_data_is_an_event_and_a_missing_one_is_not() -> None:
    assert [block.data for block in parsed(b"data:\n\n\n\nevent: x\n\n")] == ["", None]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_all_three_line_ends(end: bytes) -> None:
    stream = b"\xef\xbb\xbfid: i-1" + end + b"data: one" + end + end + b"data: two" + end + end
    for cut in range(len(stream)):
        parser = EventSourceParser()
        blocks = parser.feed(stream[:cut]) + parser.feed(stream[cut:])
        assert [(block.data, block.last_event_id) for block in blocks] == [("one", "i-1"), ("two", "i-1")]


def test_unicode_separators_end_no_line() -> None:
    assert parsed("data: a\u2028b\u0085c\n\n".encode())[0].data == "a\u2028b\u0085c"


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(texts: list[str], data: st.DataObject) -> None:
    stream = "".join(f"id: i-{n}\ndata: {text}\n\n" for n, text in enumerate(texts)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser, blocks, last = EventSourceParser(), [], 0
    for cut in [*cuts, len(stream)]:
        blocks += parser.feed(stream[last:cut])
        last = cut
    assert [block.data for block in blocks] == texts


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_chunked_body_cut_at_any_byte() -> None:
    stream = HEAD + b"4\r\nwhat\r\n4;x=y\r\never\r\n0\r\n\r\n"
    for cut in range(len(stream)):
        response = HttpResponse()
        assert response.feed(stream[:cut]) + response.feed(stream[cut:]) == b"whatever"
        assert (response.status, response.complete) == (200, True)
        assert response.headers["content-type"] == "text/event-stream"


def test_a_204_has_no_body_and_a_length_ends_one() -> None:
    response = HttpResponse()
    response.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (response.status, response.complete) == (204, True)
    response = HttpResponse()
    assert response.feed(b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nabcd") == b"abc"
    assert response.complete


def test_a_body_without_framing_goes_on_until_the_peer_closes() -> None:
    response = HttpResponse()
    assert response.feed(b"HTTP/1.1 200 OK\r\n\r\nab") == b"ab"
    assert response.feed(b"c") == b"c"
    assert not response.complete


@pytest.mark.parametrize(
    "stream", [b"SMTP ready\r\n\r\n", HEAD + b"zz\r\n", HEAD + b"2\r\nabXX", b"x" * 40_000], ids=range(4)
)
def test_bytes_that_are_no_such_response_are_an_error(stream: bytes) -> None:
    with pytest.raises(BadResponse):
        HttpResponse().feed(stream)
