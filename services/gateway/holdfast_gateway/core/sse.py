"""Records as Server-Sent Events (WHATWG HTML, 9.2): encoded once, sent to every viewer as they are.

What holds for any bytes from any producer: one event is one frame, and only the gateway writes field names, ids and
`session.` event names. Data is split at LF after CR and CRLF became LF, so every line of it begins with `data: `; event
names were checked when the record was decoded; control events are JSON, which has no line ends.

Each output of a record that is a place in the log carries an id. Item i of n says `<inc>-<seq>.<i>`, the last one the
bare `<inc>-<seq>`: a client that has it has the whole message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from holdfast.wire.event import MESSAGE, Event
from holdfast.wire.run import GAP, PRODUCER, SNAPSHOT, Output
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.gaps import with_cursors

HEARTBEAT: Final = b":\n\n"
"""A comment: keeps proxies and phones from taking a silent stream for a dead one."""

NO_ITEMS: Final[tuple[int, ...]] = ()


class Encoded(NamedTuple):
    """A record's frames. `ends`: where each id-bearing frame but the last one ends, so that a resume can start
    there.
    """

    data: bytes
    ends: tuple[int, ...]


NOTHING: Final = Encoded(b"", NO_ITEMS)


def prefix(incarnation: str) -> bytes:
    """How every id of a stream's incarnation begins: made once, since all frames need it."""
    return b"id: %b-" % incarnation.encode()


def encode_one(prefix: bytes, sequence: int, event: Event) -> bytes:
    """The frame of a record that is one event, which nearly all are."""
    if event.type == MESSAGE:
        return b"%b%d\ndata: %b\n\n" % (prefix, sequence, _lines(event.data))
    return b"%b%d\nevent: %b\ndata: %b\n\n" % (prefix, sequence, event.type.encode(), _lines(event.data))


def encode(incarnation: str, sequence: int, outputs: Sequence[Output]) -> Encoded:
    """All frames of one record, in order; empty for a void record."""
    if len(outputs) == 1 and isinstance(outputs[0], Event):
        return Encoded(encode_one(prefix(incarnation), sequence, outputs[0]), NO_ITEMS)
    return _several(incarnation, sequence, outputs) if outputs else NOTHING


def _several(incarnation: str, sequence: int, outputs: Sequence[Output]) -> Encoded:
    whole = b"id: %b-%d" % (incarnation.encode(), sequence)
    left = sum(isinstance(output, Event) or output.counted for output in outputs)
    frames: list[bytes] = []
    ends: list[int] = []
    size = item = 0
    for output in outputs:
        if isinstance(output, Event):
            name, data, counted = output.type, _lines(output.data), True
        else:
            name, data, counted = output.event, json_bytes(with_cursors(incarnation, output)), output.counted
        event = b"" if name == MESSAGE else b"event: %b\n" % name.encode()
        if not counted:
            frame = b"%bdata: %b\n\n" % (event, data)
        elif left == 1:
            frame = b"%b\n%bdata: %b\n\n" % (whole, event, data)
        else:
            frame = b"%b.%d\n%bdata: %b\n\n" % (whole, item, event, data)
        frames.append(frame)
        size += len(frame)
        if counted:
            left -= 1
            if left:
                ends.append(size)
                item += 1
    return Encoded(b"".join(frames), tuple(ends))


def rest_after(encoded: Encoded, item: int) -> bytes:
    """What is left of a record for a viewer that has its items up to and including this one."""
    return encoded.data[encoded.ends[item] :] if item < len(encoded.ends) else b""


def _lines(data: bytes) -> bytes:
    """An event's bytes as the value of one or more `data:` fields."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("utf-8", "replace").encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.replace(b"\n", b"\ndata: ") if b"\n" in data else data


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """ASCII only: no line separator of any client's taste, and lone surrogates have a form."""
    return json.dumps(value, separators=(",", ":")).encode()


def opening(retry_ms: int, tail: str | None = None) -> bytes:
    """The first bytes of a stream. `tail`: the cursor to set without dispatching anything, for a viewer that would
    otherwise have none until the first event, and lose what a cut before it leaves out."""
    return b"retry: %d\n\n" % retry_ms if tail is None else b"retry: %d\nid: %b\n\n" % (retry_ms, tail.encode())


def gap(reason: str, requested: str | None, earliest: str | None, latest: str | None) -> bytes:
    """What was asked for and cannot be had. No id: the cursor moves with the events behind it."""
    told = {"reason": reason, "requested": requested, "earliest": earliest, "latest": latest}
    return b"event: %b\ndata: %b\n\n" % (GAP.encode(), json_bytes(told))


def producer_lost(run: int) -> bytes:
    """For a viewer that joins while the producer is lost."""
    return b"event: %b\ndata: %b\n\n" % (PRODUCER.encode(), json_bytes({"run": run, "state": "lost"}))


def snapshot(cursor: str, body: Mapping[str, Any]) -> bytes:
    """The run so far in one event; its id is the last message in it. Text stays UTF-8: it may be long."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), SNAPSHOT.encode(), data)


def farewell(reason: CloseReason) -> bytes:
    """Said before the end, for whoever looks at the bytes. Dispatches nothing."""
    return b": closed %b\n\n" % reason.word.encode()


def refusal(reason: str, retry_ms: int) -> bytes:
    """The whole body of a stream that is not begun."""
    return b": refused %b\nretry: %d\n\n" % (reason.encode(), retry_ms)
