"""Events: text, bytes and JSON values in, bytes and a name out."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.wire import Event, EventTooLarge, InvalidEventType, event, text_of
from holdfast.wire.event import event_type, usable_type, utf8
from holdfast.wire.limits import MAX_EVENT_BYTES


@given(st.text())
def test_text_comes_back_with_line_ends_as_sse_has_them(text: str) -> None:
    """Text without CR is read back as written; CR and CRLF arrive as LF."""
    assert event(text).text == text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.binary())
@example(b"\xed\xa0\x80\xff\r\r\n")
def test_any_bytes_have_a_text(data: bytes) -> None:
    """Bytes that are not UTF-8 are replaced, never refused, and the text has a UTF-8 form."""
    text = text_of(data)
    assert "\r" not in text
    text.encode()


@given(st.text(st.characters(codec=None, categories=None)))
@example("\ud83d\ude00 and \ud83d alone")
def test_surrogates_are_joined_or_replaced(text: str) -> None:
    """Any str has bytes: pairs become their character, lone surrogates U+FFFD, all else stays."""
    assert utf8(text).decode() == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_bytes_of_every_kind_are_taken_as_they_are() -> None:
    """bytes, bytearray and memoryview are the data; the event does not change with its source."""
    source = bytearray(b"ab")
    made = event(source)
    source[0] = 0
    assert made == event(memoryview(b"ab")) == event(b"ab") == Event(b"ab", "message")


def test_values_are_compact_json() -> None:
    """Anything else becomes JSON, in UTF-8, without spaces."""
    assert event({"a": [1, "é"], "b": None}, "delta") == Event('{"a":[1,"é"],"b":null}'.encode(), "delta")
    assert json.loads(event({"x": "\ud800"}).text) == {"x": "\ufffd"}


def test_a_value_without_json_is_refused() -> None:
    """What JSON cannot say is the caller's error, before anything is sent."""
    with pytest.raises(TypeError):
        event({1, 2})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": -float("inf")}])
def test_numbers_that_json_has_not_are_refused(value: object) -> None:
    """`NaN` would break every viewer's `JSON.parse`, so the producer is told."""
    with pytest.raises(ValueError):
        event(value)


def test_the_limit_is_on_bytes() -> None:
    """An event of exactly the limit passes; one byte more names both numbers."""
    assert len(event("x" * MAX_EVENT_BYTES).data) == MAX_EVENT_BYTES
    with pytest.raises(EventTooLarge) as caught:
        event("é" * (MAX_EVENT_BYTES // 2) + "x")
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (MAX_EVENT_BYTES + 1, MAX_EVENT_BYTES)
    with pytest.raises(EventTooLarge):
        event("abc", limit_bytes=2)


@pytest.mark.parametrize(
    "name", ["message", "error", "a", "tool.call", "x/y:z@1+2-3_4", "t" * 64, "sessions.x", "Session.x"]
)
def test_usable_types(name: str) -> None:
    """Names that travel in one header and one SSE line are usable."""
    assert event_type(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "t" * 65, "session.end", "session.", "a b", "a,b", "a;b", "a\n", "a\r", "é", "a\x00", "\u2028", None, 5],
)
def test_unusable_types(name: str) -> None:
    """Names that are reserved or could end a line, a list or a field are refused."""
    with pytest.raises(InvalidEventType):
        event("x", name)
    assert not (isinstance(name, str) and usable_type(name))
