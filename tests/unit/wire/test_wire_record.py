"""Decoding: total, and never more than the bytes say."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.wire import NEW, Kind, decode, limits, step
from holdfast.wire import headers as h
from holdfast.wire.event import usable_type
from holdfast.wire.subjects import is_token

NAMES = [h.KIND, h.WRITER, h.INDEX, h.COUNT, h.RUN, h.LEASE, h.TYPE, h.LENGTHS, h.MARKER_REASON, "X"]
GRAMMAR = st.text("0123456789,;:=-+. aé\n\x00", max_size=24)
VALUES = (
    st.text() | GRAMMAR | st.sampled_from([k.value for k in Kind]) | st.sampled_from(["session.end", "=a", "w", "1,1"])
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b'{"result":1}', b"[" * 9000, b'{"a":' * 3000, b"1" * 9000, b'"\\ud800"']
)


@given(st.integers(1, 2**63 - 1), HEADERS, BODIES)
@example(1, {h.KIND: "end"}, b"[" * 16_000)
@example(1, {h.KIND: "end"}, b'{"result":' + b"9" * 5000 + b"}")
def test_i1_every_stored_message_has_one_meaning(sequence: int, headers: dict[str, str], body: bytes) -> None:
    """Any headers and bytes decode, to the same record each time, and fold in every phase."""
    record = decode(sequence, headers, body)
    assert record == decode(sequence, dict(reversed(headers.items())), body)
    for state in (NEW, step(NEW, decode(1, {}, b""))[0], step(NEW, decode(1, {h.KIND: "end"}, b""))[0]):
        for output in step(state, record)[1]:
            assert output


@given(HEADERS, BODIES)
def test_what_is_read_is_safe_to_pass_on(headers: dict[str, str], body: bytes) -> None:
    """Names are tokens, types are usable, payloads encode: nothing a producer sent can break what a pod makes of it."""
    record = decode(1, headers, body)
    assert record.writer is None or is_token(record.writer)
    assert record.run_name is None or is_token(record.run_name)
    assert all(usable_type(event.type) for event in record.events)
    assert b"".join(event.data for event in record.events) == (body if record.kind is Kind.DATA else b"")
    assert 0 < (record.lease_seconds or 1) <= limits.MAX_LEASE_SECONDS
    json.dumps(dict(record.payload), ensure_ascii=False, allow_nan=False).encode()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(-3, 3))
def test_lengths_that_do_not_sum_to_the_body_split_nothing(lengths: list[int], off: int) -> None:
    """A body is split only where the lengths account for every byte of it; else it is one marked event."""
    body = bytes(max(0, sum(lengths) + off))
    record = decode(1, {h.LENGTHS: ",".join(map(str, lengths))}, body)
    assert record.malformed == (len(body) != sum(lengths))
    assert [len(e.data) for e in record.events] == (lengths if not record.malformed else [len(body)])


def test_a_payload_over_the_limit_is_none() -> None:
    """A control message's body over 16 KiB says nothing."""
    body = json.dumps({"result": "x" * limits.MAX_PAYLOAD_JSON_BYTES}).encode()
    assert decode(1, {h.KIND: "end"}, body).payload == {}
