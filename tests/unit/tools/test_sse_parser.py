"""The interpreter that judges our streams, itself judged by the standard's own examples and clauses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sse_parser import EventStream, Message, interpret


def dispatched(text: str | bytes) -> list[Message]:
    return interpret(text.encode() if isinstance(text, str) else text).messages


def test_the_standards_stock_example() -> None:
    """Several data lines are joined by LF."""
    assert dispatched("data: YHOO\ndata: +2\ndata: 10\n\n") == [Message("message", "YHOO\n+2\n10", "")]


def test_the_standards_four_block_example() -> None:
    """Comments, ids, an empty id that resets, and one leading space only."""
    text = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert dispatched(text) == [
        Message("message", "first event", "1"),
        Message("message", "second event", ""),
        Message("message", " third event", ""),
    ]


def test_the_standards_empty_data_example() -> None:
    """`data` alone dispatches an empty string, two of them a newline; without the blank line nothing comes."""
    assert dispatched("data\n\ndata\ndata\n\ndata:") == [Message("message", "", ""), Message("message", "\n", "")]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_ends(end: str) -> None:
    """CR, LF and CRLF end a line alike."""
    assert dispatched(end.join(["event: a", "id: 7", "data: x", "", ""])) == [Message("a", "x", "7")]


def test_nothing_else_ends_a_line() -> None:
    """NEL, U+2028, U+2029, VT, FF and NUL are data."""
    data = "a\x85b\u2028c\u2029d\x0be\x0cf\x00g"
    assert dispatched(f"data: {data}\n\n") == [Message("message", data, "")]


def test_one_byte_order_mark_is_dropped() -> None:
    """Only the first, and only at the very start."""
    assert dispatched(b"\xef\xbb\xbfdata: \xef\xbb\xbfx\n\n") == [Message("message", "\ufeffx", "")]
    assert dispatched(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n") == []


def test_an_id_with_nul_is_ignored() -> None:
    """The id before it stays."""
    assert dispatched("id: 1\n\nid: 2\x00\ndata: x\n\n") == [Message("message", "x", "1")]


def test_an_id_without_data_sets_the_cursor_and_dispatches_nothing() -> None:
    """What an attach with nothing to send relies on."""
    stream = interpret(b"id: a-7\n\n")
    assert (stream.last_event_id, stream.messages) == ("a-7", [])


def test_an_event_without_data_is_forgotten() -> None:
    """Its type does not leak into the next event."""
    assert dispatched("event: a\n\ndata: x\n\n") == [Message("message", "x", "")]


def test_retry_takes_digits_only() -> None:
    """Anything else is ignored."""
    assert interpret(b"retry: 1500\n").retry_ms == 1500
    for bad in ("-1", "1.5", "x", "", "\u0661"):
        assert interpret(f"retry: {bad}\n".encode()).retry_ms is None


def test_field_names_are_exact() -> None:
    """No case folding, no trimming."""
    assert dispatched("DATA: x\n data: y\ndata : z\n\n") == []


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_any_split_of_the_bytes_is_the_same_stream(data: bytes, cuts: list[int]) -> None:
    """Reads end anywhere: inside a code point, between CR and LF, inside a BOM."""
    whole, parts = interpret(data), EventStream()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        parts.feed(data[start:end])
    for seen in ("messages", "last_event_id", "retry_ms"):
        assert getattr(parts, seen) == getattr(whole, seen)
