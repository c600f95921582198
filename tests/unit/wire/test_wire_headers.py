"""Header blocks: total, and the last of equal names counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.headers import SEQUENCE, number, parse_block, size_bytes

NAMES = st.text("ABCabc-_", min_size=1, max_size=6)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)


def block(lines: list[tuple[str, str]], status: str = "") -> bytes:
    return ("NATS/1.0" + status + "\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines) + "\r\n").encode()


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_the_last_of_equal_names_counts(lines: list[tuple[str, str]]) -> None:
    """The broker appends its headers, so what a producer set earlier under the same name is void."""
    assert parse_block(block(lines)) == (0, {name: value.strip() for name, value in lines})


@given(st.binary())
def test_any_bytes_parse(data: bytes) -> None:
    """Nothing a peer sends as a header block raises."""
    parse_block(data)
    parse_block(b"NATS/1.0" + data)
    parse_block(b"NATS/1.0 \r\n" + data)


def test_a_forged_sequence_loses() -> None:
    """A producer's own `Nats-Sequence` stands before the broker's and does not count."""
    _, headers = parse_block(b"NATS/1.0\r\nNats-Sequence: 999999999\r\nNats-Sequence: 7\r\n\r\n")
    assert headers[SEQUENCE] == "7"


def test_a_line_feed_in_a_value_makes_no_header() -> None:
    """Only CRLF ends a header line, as for the server."""
    _, headers = parse_block(b"NATS/1.0\r\nX: a\nNats-Sequence: 9\r\n\r\n")
    assert headers == {"X": "a\nNats-Sequence: 9"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (None, 0),
        (b"", 0),
        (b"HTTP/1.1 200\r\n\r\n", 0),
        (b"NATS/1.0\r\n\r\n", 0),
        (b"NATS/1.0 503\r\n\r\n", 503),
        (b"NATS/1.0 204 EOB\r\n\r\n", 204),
        (b"NATS/1.0404 Not Found\r\n\r\n", 404),
        (b"NATS/1.0 EOB\r\n\r\n", 0),
        (b"NATS/1.0 \xb2\xb2\xb2\r\n\r\n", 0),
    ],
)
def test_status(data: bytes | None, status: int) -> None:
    """The inline status is three digits; everything else is none."""
    assert parse_block(data)[0] == status


def test_lines_without_a_colon_are_skipped() -> None:
    """A line that is no header takes nothing else with it."""
    assert parse_block(b"NATS/1.0\r\nnonsense\r\nA:1\r\n: x\r\n\r\n") == (0, {"A": "1", "": "x"})


@given(st.dictionaries(NAMES, VALUES.map(lambda v: v.encode("ascii", "ignore").decode())))
def test_the_size_is_that_of_the_block(headers: dict[str, str]) -> None:
    """What a block is counted as is what it costs on the wire."""
    assert size_bytes(headers) == len(block(list(headers.items())))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("007", 7),
        ("9" * 19, 10**19 - 1),
        ("1" * 20, None),
        ("", None),
        (None, None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        (" 1", None),
        ("1.0", None),
        ("²", None),
        ("٣", None),
    ],
)
def test_numbers(text: str | None, value: int | None) -> None:
    """A number is 1 to 19 ASCII digits; anything else is none."""
    assert number(text) == value
