"""No bytes from any producer can forge a field, an id or a control event in a viewer's stream.

What a producer stores goes through the real decoder, the real fold and the real framing, and is judged by an
interpreter that follows the standard and shares nothing with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.sse_parser import interpret

from holdfast.wire import NEW, Cursor, Event, decode, limits, step
from holdfast.wire import headers as h
from holdfast_gateway.core import sse

INCARNATION = "m1x2"

FORGERIES = [
    b"",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b"x\n\nid: m1x2-999\nevent: session.end\ndata: {}\n\n",
    b"x\r\rid: m1x2-999\revent: session.end\rdata: {}\r\r",
    b"x\r\n\r\nretry: 1\r\n\r\n:",
    b"\x00",
    b"id: 1\x00",
    "a\u2028id: 1\u2029\x85\x0b\x0c".encode(),
    b"\xef\xbb\xbfdata: x",
    b"\xff\xfe\n\nid: 1",
    b"\xed\xa0\x80\xed\xb0\x80\n",
    b"\xf0\x9f\x98",
    b"\xe2\x80\n\xa8",
    b"\xc0\x8aid: 1",  # an overlong LF
    b" leading",
    b"trailing ",
    b": comment",
]
BODIES = (
    st.binary(max_size=80)
    | st.sampled_from(FORGERIES)
    | st.lists(st.sampled_from(FORGERIES), max_size=4).map(b"".join)
    | st.text("\r\n\x00:\u2028 idataevn", max_size=30).map(str.encode)
)
NAMES = st.sampled_from([h.KIND, h.WRITER, h.INDEX, h.RUN, h.LEASE, h.TYPE, h.LENGTHS, "id", "event", "data"])
VALUES = st.sampled_from(
    [
        "start",
        "end",
        "failed",
        "cancelled",
        "reset",
        "erased",
        "alive",
        "w",
        "1",
        "=q",
        "=a\nid: 9",
        "session.end",
        "tool",
    ]
) | st.text("\r\n\x00:=;,0123 ae\u2028é", max_size=12)
STORED = st.tuples(st.dictionaries(NAMES, VALUES, max_size=5), BODIES)
CONTROLS = {"session.start", "session.end", "session.failed", "session.cancelled", "session.reset"}
WITHOUT_ID = {"session.gap", "session.producer"}


def as_received(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def check(log: list[tuple[Mapping[str, str], bytes]]) -> None:
    """Store this, stream what it means, and hold what the interpreter sees against what the fold tells."""
    state, place = NEW, ""
    stream: list[bytes] = []
    told: list[tuple[str, object, str]] = []
    for sequence, (headers, body) in enumerate(log, 1):
        state, outputs = step(state, decode(sequence, headers, body))
        stream.append(sse.encode(INCARNATION, sequence, outputs).data)
        left = sum(isinstance(o, Event) or o.counted for o in outputs)
        item = 0
        for output in outputs:
            if isinstance(output, Event) or output.counted:
                left -= 1
                place = str(Cursor(INCARNATION, sequence, item if left else None))
                item += 1
            if isinstance(output, Event):
                assert not output.type.startswith("session.")
                told.append((output.type, as_received(output.data), place))
            else:
                assert output.event in (CONTROLS if output.counted else WITHOUT_ID)
                data = dict(output.data)
                if output.event == "session.gap":  # places are cursors to viewers
                    data |= {"earliest": str(Cursor(INCARNATION, data["earliest"])), "latest": None}
                told.append((output.event, data, place))
    b"".join(stream).decode()  # strict clients (aiohttp, httpx) refuse a stream that is not UTF-8
    seen = interpret(b"".join(stream))
    assert (seen.pending, seen.retry_ms, seen.comments, seen.last_event_id) == (False, None, 0, place)
    ours = [json.loads(m.data) if m.type.startswith("session.") else m.data for m in seen.messages]
    assert [(m.type, data, m.last_event_id) for m, data in zip(seen.messages, ours, strict=True)] == told


@settings(max_examples=400, deadline=None)
@given(st.lists(STORED, max_size=6))
def test_i2_no_producer_forges_what_viewers_see(log: list[tuple[dict[str, str], bytes]]) -> None:
    """Whatever is stored, a viewer gets exactly the fold's events, with the gateway's names and ids."""
    check(log)


@settings(max_examples=300, deadline=None)
@given(BODIES)
@example(b"\n" * 5000)
@example(b"\r" * 5001)
@example(b"\n" * limits.MAX_EVENT_BYTES)
@example(b"\xff" * limits.MAX_EVENT_BYTES)
@example("\u2028".encode() * 20_000)
def test_i2_a_body_is_one_event(body: bytes) -> None:
    """Any bytes as an event's data are one event of that data, the smallest and the largest too."""
    check([({}, body)])


@settings(max_examples=200, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=8))
def test_i2_coalesced_events_stay_apart(bodies: list[bytes]) -> None:
    """Events of one message are as many events for the viewer, each with its own data and place."""
    check([({h.LENGTHS: ",".join(str(len(b)) for b in bodies)}, b"".join(bodies))])


@given(st.text(st.characters(codec=None, categories=None), max_size=40))
@example("\n\nid: 1\ndata: x\n\n\u2028\ud800")
def test_i2_texts_in_control_events_stay_in_them(text: str) -> None:
    """A failure's message or an end's result with any characters is JSON inside one event."""
    for kind, field in (("failed", "message"), ("end", "result"), ("cancelled", "reason")):
        run = {h.RUN: "1"} if kind == "cancelled" else {}
        check([({}, b"x"), ({h.KIND: kind, **run}, json.dumps({field: text}).encode())])
