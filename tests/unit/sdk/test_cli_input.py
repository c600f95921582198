"""Reading standard input: nothing lost, no character cut."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli import read_input, split_utf8


@given(st.text(), st.integers(1, 7))
def test_no_piece_ends_inside_a_character(text: str, size: int) -> None:
    data, rest, pieces = text.encode(), b"", []
    for at in range(0, len(data), size):
        whole, rest = split_utf8(rest + data[at : at + size])
        pieces.append(whole)
    assert rest == b""
    assert "".join(p.decode() for p in pieces) == text


@given(st.binary(max_size=50))
def test_what_is_no_utf8_is_kept_and_not_held_back_for_ever(data: bytes) -> None:
    whole, rest = split_utf8(data)
    assert whole + rest == data
    assert len(rest) <= 3


async def test_end_inside_a_character_is_still_delivered() -> None:
    read, write = os.pipe()
    os.write(write, b"ok\xf0\x9f")
    os.close(write)
    assert b"".join([chunk async for chunk in read_input(read)]) == b"ok\xf0\x9f"
    os.close(read)
