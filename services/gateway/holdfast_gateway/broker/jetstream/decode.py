"""Messages as the broker hands them over, read as records. What every header means stands in `holdfast.wire`.

Ingest is what a pod does most, so live data messages in the shape that the SDK and plain clients give them are read by
one regular expression: 2 us where `parse_block` and `decode` need 8. Whatever is not exactly of that shape (control
messages, several event types, forged headers, another order) takes the long way. Both ways give equal records, which
a differential test holds them to.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from holdfast.wire import Event, Kind, Record, decode
from holdfast.wire import headers as h
from holdfast.wire.codec import NOTHING
from holdfast.wire.limits import MAX_BATCH_EVENTS

_second_text = ""
_second = 0.0

_COMMON = re.compile(
    rb"NATS/1\.0\r\n"
    rb"(?:Nats-Expected-Stream: [A-Za-z0-9_-]+\r\n)?"
    rb"(?:Nats-Expected-Last-Subject-Sequence: [0-9]+\r\n)?"
    rb"(?:Holdfast-Writer: ([A-Za-z0-9_-]+)\r\nHoldfast-Index: ([0-9]{1,19})\r\nHoldfast-Count: [0-9]+\r\n)?"
    rb"(?:Holdfast-Run: ([0-9]{1,19})\r\n)?"
    rb"(?:Holdfast-Type: (?!session\.)([A-Za-z0-9_./:@+-]{1,64})\r\n)?"
    rb"(?:Holdfast-Lengths: ([0-9,]+)\r\n)?"
    # The broker's own, always last and always in this order.
    rb"Nats-Stream: [A-Za-z0-9_-]+\r\nNats-Subject: [A-Za-z0-9_.-]+\r\nNats-Sequence: ([0-9]{1,19})\r\n"
    rb"Nats-Time-Stamp: ([0-9T:.-]+Z)\r\nNats-Last-Sequence: ([0-9]{1,19})\r\n\r\n"
)
_match = _COMMON.fullmatch
_tuple = tuple.__new__  # named tuples' own constructors check what is fixed here; there are millions


def live(block: bytes | None, body: bytes) -> Record | None:
    """A republished message; None if it does not say its sequence (then it is nothing the stream sent)."""
    found = _match(block) if block is not None else None
    if found is None:
        return _any(block, body)
    writer, index, run, named, lengths, sequence, stamp, previous = found.groups()
    type_ = "message" if named is None else named.decode()
    if lengths is None:
        events: tuple[Event, ...] = (_tuple(Event, (body, type_)),)
    else:
        cut = _cut(lengths, body, type_)
        if cut is None:
            return _any(block, body)
        events = cut
    return _tuple(
        Record,
        (
            int(sequence),
            Kind.DATA,
            events,
            None if writer is None else writer.decode(),
            0 if index is None else int(index),
            None if run is None else int(run),
            None,
            None,
            NOTHING,
            int(previous),
            unix_seconds(stamp.decode()),
            False,
            False,
        ),
    )


def _cut(lengths: bytes, body: bytes, type_: str) -> tuple[Event, ...] | None:
    """The events of one message, all of one type; None where lengths and body do not belong together."""
    events, at = [], 0
    words = lengths.split(b",")
    if len(words) > MAX_BATCH_EVENTS:
        return None
    for word in words:
        if not word or len(word) > 19:
            return None
        end = at + int(word)
        events.append(_tuple(Event, (body[at:end], type_)))
        at = end
    return tuple(events) if at == len(body) else None


def _any(block: bytes | None, body: bytes) -> Record | None:
    """The long way, for every shape."""
    _, headers = h.parse_block(block)
    sequence = h.number(headers.get(h.SEQUENCE))
    if sequence is None:
        return None
    return decode(
        sequence,
        headers,
        body,
        previous=h.number(headers.get(h.LAST_SEQUENCE)),
        time_seconds=unix_seconds(headers.get(h.TIME_STAMP)),
    )


def stored(headers: Mapping[str, str], body: bytes, before: int | None) -> Record | None:
    """A Direct Get answer. The broker's `Nats-Last-Sequence` means something else there (the message before it in the
    same answer), so the back pointer is the one the writer was let in with, if there is one."""
    sequence = h.number(headers.get(h.SEQUENCE))
    if sequence is None:
        return None
    pointer = h.number(headers.get(h.EXPECTED_LAST))
    return decode(
        sequence,
        headers,
        body,
        previous=before if pointer is None else pointer,
        time_seconds=unix_seconds(headers.get(h.TIME_STAMP)),
    )


def leader_message(message: Mapping[str, Any]) -> tuple[str, Record] | None:
    """The `message` of a STREAM.MSG.GET answer: subject and record. None if it is not one."""
    try:
        subject, sequence = str(message["subject"]), int(message["seq"])
        block = base64.b64decode(message.get("hdrs") or "", validate=True)
        body = base64.b64decode(message.get("data") or "", validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    _, headers = h.parse_block(block)
    record = decode(
        sequence,
        headers,
        body,
        previous=h.number(headers.get(h.EXPECTED_LAST)),
        time_seconds=unix_seconds(message.get("time")),
    )
    return subject, record


def unix_seconds(stamp: str | None) -> float:
    """RFC 3339 with any number of fractional digits, in UTC as the server writes it, as Unix time. 0.0 if it is not."""
    global _second_text, _second
    if stamp is None or stamp[-1:] != "Z":
        return 0.0
    text, fraction = stamp[:19], stamp[19:-1]
    if text != _second_text:
        try:
            _second = datetime.fromisoformat(text + "+00:00").timestamp()
        except ValueError:
            return 0.0
        _second_text = text
    try:
        return _second + float(fraction) if fraction else _second
    except ValueError:
        return 0.0
