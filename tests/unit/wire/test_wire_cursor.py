"""Cursors: the one text form of a place in a session's log."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire import Cursor, InvalidCursor

INCARNATIONS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=16)
CURSORS = st.builds(Cursor, INCARNATIONS, st.integers(1, (1 << 63) - 1), st.none() | st.integers(0, 9999))


@given(CURSORS)
def test_what_is_written_is_read(cursor: Cursor) -> None:
    """Parsing a cursor's text gives the cursor, and the text again."""
    assert Cursor.parse(str(cursor)) == cursor
    assert str(Cursor.parse(str(cursor))) == str(cursor)


@given(st.text() | st.from_regex(r"[a-z0-9]{1,3}-[0-9]{1,20}(\.[0-9]{1,5})?\n?"))
def test_no_two_texts_are_one_cursor(text: str) -> None:
    """Whatever is accepted is what the cursor writes itself: no other spelling gets in."""
    with contextlib.suppress(InvalidCursor):
        assert str(Cursor.parse(text)) == text


def test_an_id_of_a_cursor_is_safe_in_sse() -> None:
    """A cursor's text has no character that ends a line, a field or an id."""
    assert str(Cursor("m1x2", 17, 3)) == "m1x2-17.3"
    assert str(Cursor("m1x2", 17)) == "m1x2-17"


def test_the_error_shows_what_came_and_bounds_it() -> None:
    """A refused cursor is quoted, escaped and cut, and told how it should look."""
    with pytest.raises(InvalidCursor) as caught:
        Cursor.parse("x\n" * 4000)
    assert caught.value.value == "x\n" * 4000
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert not caught.value.retryable
    assert caught.value.docs == "docs/errors.md#invalidcursor"
