"""Messages as the broker hands them over, read as records. What every header means stands in `holdfast.wire`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from holdfast.wire import Record, decode
from holdfast.wire import headers as h

_second_text = ""
_second = 0.0


def live(block: bytes | None, body: bytes) -> Record | None:
    """A republished message; None if it does not say its sequence (then it is nothing the stream sent)."""
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
        block = base64.b64decode(message.get("hdrs") or "")
        body = base64.b64decode(message.get("data") or "")
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
