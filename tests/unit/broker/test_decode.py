"""Reading messages: the fast way equals the long way, for anything anyone may have written."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.wire import Event, Record, codec, decode, event
from holdfast.wire import headers as h
from holdfast_gateway.broker.jetstream import decode as fast

BROKER = (
    "Nats-Stream: HOLDFAST_0_abc\r\nNats-Subject: hf.0.default.chat-1\r\nNats-Sequence: 12\r\n"
    "Nats-Time-Stamp: 2026-11-22T12:34:56.5Z\r\nNats-Last-Sequence: 11\r\n"
)


def slow(block: bytes | None, body: bytes) -> Record | None:
    """By the contract alone."""
    _, headers = h.parse_block(block)
    sequence = h.number(headers.get(h.SEQUENCE))
    if sequence is None:
        return None
    previous = h.number(headers.get(h.LAST_SEQUENCE))
    stamp = fast.unix_seconds(headers.get(h.TIME_STAMP))
    return decode(sequence, headers, body, previous=previous, time_seconds=stamp)


def block_of(headers: dict[str, str], broker: str = BROKER) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}{broker}\r\n".encode("utf-8", "replace")


types = st.sampled_from(["message", "delta", "a.b/c:d@e+f-g", "x" * 64])
events = st.lists(st.builds(Event, st.binary(max_size=12), types), min_size=1, max_size=5)


@given(events, st.booleans(), st.booleans(), st.one_of(st.none(), st.integers(0, 10**6)))
def test_every_message_the_sdk_writes_reads_the_same(
    batch: list[Event], written: bool, expected: bool, run: int | None
) -> None:
    draft = codec.data(batch, writer="tok-1" if written else None, run=run, index=7)
    headers = {h.EXPECTED_STREAM: "HOLDFAST_0_abc", **({h.EXPECTED_LAST: "11"} if expected else {}), **draft.headers}
    block = block_of(headers)
    assert fast.live(block, draft.body) == slow(block, draft.body)


name = st.sampled_from(
    [
        *(h.KIND, h.WRITER, h.INDEX, h.COUNT, h.RUN, h.TYPE, h.LENGTHS, h.LEASE, h.SEQUENCE, h.LAST_SEQUENCE),
        *(h.EXPECTED_LAST, h.EXPECTED_STREAM, h.STREAM, h.SUBJECT, h.TIME_STAMP, h.MARKER_REASON),
        *("X-Other", "holdfast-type"),
    ]
)
value = st.one_of(
    st.sampled_from(
        ["", "1", "12", "tok-1", "delta", "4,4", "8", "0,8", "8,", ",8", "008", "+8", "1_0", " 8", "8 ", "9" * 25]
    ),
    st.sampled_from(["a,b;4:1,4", "session.end", "end", "start", "=name", "٣", "x\ny", "2026-11-22T12:00:00Z", "-1"]),
    st.text(max_size=8).filter(lambda text: "\r" not in text and text.isprintable()),
)


@given(
    st.lists(st.tuples(name, value), max_size=7), st.booleans(), st.sampled_from([b"", b"12345678", b"{}", b"\xff\r\n"])
)
@example([(h.LENGTHS, "4,4")], True, b"12345678")
@example([(h.SEQUENCE, "99"), (h.LAST_SEQUENCE, "98")], True, b"forged")
def test_anything_else_reads_the_same(lines: list[tuple[str, str]], broker: bool, body: bytes) -> None:
    text = "".join(f"{n}: {v}\r\n" for n, v in lines)
    block = f"NATS/1.0\r\n{text}{BROKER if broker else ''}\r\n".encode("utf-8", "replace")
    assert fast.live(block, body) == slow(block, body)


@given(st.binary(max_size=60), st.integers(0, 400), st.binary(max_size=3))
def test_damaged_blocks_read_the_same(noise: bytes, at: int, put: bytes) -> None:
    whole = block_of({h.WRITER: "tok-1", h.INDEX: "1", h.COUNT: "1", h.TYPE: "delta"})
    for block in (noise, whole[:at], whole[:at] + put + whole[at + 1 :], None):
        assert fast.live(block, b"body") == slow(block, b"body")


def test_the_common_shapes_take_the_fast_way() -> None:
    """Otherwise the differential tests would compare the long way with itself."""
    expected = {h.EXPECTED_STREAM: "HOLDFAST_0_abc", h.EXPECTED_LAST: "11"}
    several = codec.data([event("a"), event("b")], writer="tok-1", run=3, index=4)
    for headers in (
        {},
        {**expected, **codec.data([event("a", "delta")], writer="tok-1", run=3, index=4).headers},
        {**expected, **several.headers},
        codec.data([event("a")]).headers,
    ):
        assert fast._LIVE(block_of(dict(headers))) is not None
        assert fast._STORED(block_of(dict(headers), STORED)) is not None


def test_forged_broker_headers_come_first_and_lose() -> None:
    """A producer's own Nats-Sequence stands before the server's."""
    block = block_of({h.SEQUENCE: "999999999", h.SUBJECT: "hf.0.victim.s", h.LAST_SEQUENCE: "999999998"})
    record = fast.live(block, b"x")
    assert record is not None
    assert (record.sequence, record.previous) == (12, 11)


def test_a_message_that_does_not_say_its_sequence_is_none() -> None:
    assert fast.live(None, b"x") is None
    assert fast.live(b"NATS/1.0\r\n\r\n", b"x") is None


STORED = BROKER.replace("Nats-Last", "Nats-Num-Pending: 3\r\nNats-Last")


def slow_stored(block: bytes | None, body: bytes, before: int) -> tuple[Record, int | None] | None:
    """By the contract alone."""
    _, headers = h.parse_block(block)
    sequence, pointer = h.number(headers.get(h.SEQUENCE)), h.number(headers.get(h.EXPECTED_LAST))
    if sequence is None:
        return None
    previous = pointer if pointer is not None else before or None
    stamp = fast.unix_seconds(headers.get(h.TIME_STAMP))
    record = decode(sequence, headers, body, previous=previous, time_seconds=stamp)
    return record, h.number(headers.get(h.LAST_SEQUENCE))


@given(events, st.booleans(), st.one_of(st.none(), st.integers(0, 20)), st.integers(0, 11))
def test_every_stored_message_of_the_sdk_reads_the_same(
    batch: list[Event], written: bool, expected: int | None, before: int
) -> None:
    draft = codec.data(batch, writer="tok-1" if written else None, index=7)
    pointer = {} if expected is None else {h.EXPECTED_LAST: str(expected)}
    block = block_of({**pointer, **draft.headers}, STORED)
    assert fast.stored(block, draft.body, before) == slow_stored(block, draft.body, before)


@given(st.lists(st.tuples(name, value), max_size=7), st.booleans(), st.sampled_from([b"", b"12345678", b"{}"]))
@example([(h.LENGTHS, "4,5")], True, b"12345678")
def test_any_other_stored_message_reads_the_same(lines: list[tuple[str, str]], broker: bool, body: bytes) -> None:
    text = "".join(f"{n}: {v}\r\n" for n, v in lines)
    block = f"NATS/1.0\r\n{text}{STORED if broker else ''}\r\n".encode("utf-8", "replace")
    assert fast.stored(block, body, 4) == slow_stored(block, body, 4)


def test_a_stored_message_points_at_what_its_writer_expected() -> None:
    """Direct Get's own Nats-Last-Sequence means the message before it in the same answer."""
    record, chained = fast.stored(block_of({h.EXPECTED_LAST: "7"}, STORED), b"x", 5) or (None, None)
    assert record is not None
    assert (record.sequence, record.previous, chained) == (12, 7, 11)
    assert [r and r[0].previous for r in (fast.stored(block_of({}, STORED), b"x", b) for b in (5, 0))] == [5, None]
    assert fast.stored(None, b"x", 0) is None


def test_the_leaders_message() -> None:
    block = b"NATS/1.0\r\nHoldfast-Type: delta\r\nNats-Expected-Last-Subject-Sequence: 3\r\n\r\n"
    message = {
        "subject": "hf.0.a.b",
        "seq": 4,
        "hdrs": base64.b64encode(block).decode(),
        "data": base64.b64encode(b"hi").decode(),
        "time": "2026-11-22T12:34:56.5Z",
    }
    told = fast.leader_message(message)
    assert told is not None
    assert told[0] == "hf.0.a.b"
    assert told[1].sequence == 4
    assert told[1].previous == 3
    assert told[1].events == (Event(b"hi", "delta"),)
    assert fast.leader_message({}) is None
    assert fast.leader_message({"subject": "s", "seq": "x"}) is None
    assert fast.leader_message({"subject": "s", "seq": 1, "data": "!!"}) is None


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-11-22T12:34:56Z", 1795350896.0),
        ("2026-11-22T12:34:56.5Z", 1795350896.5),
        ("2026-11-22T12:34:57.000000001Z", 1795350897.0),
        (None, 0.0),
        ("", 0.0),
        ("yesterday", 0.0),
        ("2026-11-22T12:34:56+01:00", 0.0),
        ("2026-11-22T12:34:56.xZ", 0.0),
    ],
)
def test_time_stamps(stamp: str | None, seconds: float) -> None:
    assert fast.unix_seconds(stamp) == pytest.approx(seconds)
