"""Messages as the broker hands them over, read as records. What every header means stands in `holdfast.wire`.

Ingest is what a pod does most, so data messages in the shape that the SDK and plain clients give them are read by one
regular expression: 3 us where `parse_block` and `decode` need 8. Whatever is not exactly of that shape (control
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
from holdfast.wire.event import MESSAGE
from holdfast.wire.limits import MAX_BATCH_EVENTS

_second_text = ""
_second = 0.0

_PRODUCER = (
    rb"NATS/1\.0\r\n"
    rb"(?:Nats-Expected-Stream: [A-Za-z0-9_-]+\r\n)?"
    rb"(?:Nats-Expected-Last-Subject-Sequence: ([0-9]{1,19})\r\n)?"
    rb"(?:Holdfast-Writer: ([A-Za-z0-9_-]{1,128})\r\nHoldfast-Index: ([0-9]{1,19})\r\nHoldfast-Count: [0-9]+\r\n)?"
    rb"(?:Holdfast-Run: ([0-9]{1,19})\r\n)?"
    rb"(?:Holdfast-Type: (?!session\.)([A-Za-z0-9_./:@+-]{1,64})\r\n)?"
    rb"(?:Holdfast-Lengths: ([0-9,]+)\r\n)?"
)
# The broker's own, always last and always in this order.
_BROKER = (
    rb"Nats-Stream: [A-Za-z0-9_-]+\r\nNats-Subject: [A-Za-z0-9_.-]+\r\nNats-Sequence: ([0-9]{1,19})\r\n"
    rb"Nats-Time-Stamp: ([0-9T:.-]+Z)\r\n"
)
_LAST = rb"Nats-Last-Sequence: ([0-9]{1,19})\r\n\r\n"
_LIVE = re.compile(_PRODUCER + _BROKER + _LAST).fullmatch
_STORED = re.compile(_PRODUCER + _BROKER + rb"Nats-Num-Pending: [0-9]+\r\n" + _LAST).fullmatch

_tuple = tuple.__new__  # named tuples' own constructors check what is fixed here; there are millions


def live(block: bytes | None, body: bytes) -> Record | None:
    """A republished message; None if it does not say its sequence (then it is nothing the stream sent)."""
    found = _LIVE(block) if block is not None else None
    if found is not None:
        _, writer, index, run, named, lengths, sequence, stamp, previous = found.groups()
        record = _data(writer, index, run, named, lengths, sequence, stamp, int(previous), body)
        if record is not None:
            return record
    _, headers = h.parse_block(block)
    return _any(headers, body, h.number(headers.get(h.LAST_SEQUENCE)))


def stored(block: bytes | None, body: bytes, before: int) -> tuple[Record, int | None] | None:
    """One message of a batched answer, and which one of the same answer it says was before it (0: it is the first).

    `before` is the one that was. A record's back pointer here is the one that its writer was let in with; without one,
    the message before it in the answer, which for the first says nothing.
    """
    found = _STORED(block) if block is not None else None
    if found is not None:
        pointer, writer, index, run, named, lengths, sequence, stamp, chained = found.groups()
        previous = int(pointer) if pointer is not None else before or None
        record = _data(writer, index, run, named, lengths, sequence, stamp, previous, body)
        if record is not None:
            return record, int(chained)
    _, headers = h.parse_block(block)
    expected = h.number(headers.get(h.EXPECTED_LAST))
    record = _any(headers, body, (before or None) if expected is None else expected)
    return None if record is None else (record, h.number(headers.get(h.LAST_SEQUENCE)))


def _data(
    writer: bytes | None,
    index: bytes | None,
    run: bytes | None,
    named: bytes | None,
    lengths: bytes | None,
    sequence: bytes,
    stamp: bytes,
    previous: int | None,
    body: bytes,
) -> Record | None:
    """A data message of the common shape; None where its lengths are not its body's."""
    type_ = MESSAGE if named is None else named.decode()
    if lengths is None:
        events: tuple[Event, ...] | None = (_tuple(Event, (body, type_)),)
    else:
        events = _cut(lengths, body, type_)
        if events is None:
            return None
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
            previous,
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


def _any(headers: Mapping[str, str], body: bytes, previous: int | None) -> Record | None:
    """The long way, for every shape."""
    sequence = h.number(headers.get(h.SEQUENCE))
    if sequence is None:
        return None
    stamp = unix_seconds(headers.get(h.TIME_STAMP))
    return decode(sequence, headers, body, previous=previous, time_seconds=stamp)


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
