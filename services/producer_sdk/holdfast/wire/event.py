"""Events: what a producer writes and a viewer receives."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from holdfast.wire.errors import EventTooLarge, InvalidEventType
from holdfast.wire.limits import MAX_EVENT_BYTES

MESSAGE: Final = "message"
RESERVED_PREFIX: Final = "session."

_TYPE = re.compile(r"[A-Za-z0-9_./:@+-]{1,64}")

type_ok = _TYPE.fullmatch


class Event(NamedTuple):
    """One event: its bytes as the producer gave them and its SSE event name. A tuple, because there are millions."""

    data: bytes
    type: str = MESSAGE

    @property
    def text(self) -> str:
        """The data as viewers get it: UTF-8 with what is not UTF-8 replaced, CR and CRLF as LF."""
        return text_of(self.data)


def text_of(data: bytes) -> str:
    """Bytes as an SSE client sees them. SSE has no CR: it is a line end like LF and CRLF."""
    text = data.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def usable_type(value: str) -> bool:
    """Whether a producer may use this event name."""
    return _TYPE.fullmatch(value) is not None and not value.startswith(RESERVED_PREFIX)


def event_type(value: str) -> str:
    """Check an event name. Raises `InvalidEventType`."""
    if not isinstance(value, str) or not usable_type(value):
        raise InvalidEventType(value)
    return value


def utf8(text: str) -> bytes:
    """Text as UTF-8. Surrogate pairs are joined, lone surrogates become U+FFFD: they have no UTF-8 form."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def event(value: Any, type: str = MESSAGE, *, limit_bytes: int = MAX_EVENT_BYTES) -> Event:
    """Make an event of text, bytes, or any value that `json.dumps` takes.

    Raises:
        EventTooLarge: more than `limit_bytes` bytes.
        InvalidEventType: the name is malformed or reserved.
        TypeError: the value has no JSON form.
        ValueError: it holds a number that JSON has not (NaN, infinity).
    """
    if isinstance(value, str):
        data = utf8(value)
    elif isinstance(value, bytes):
        data = value
    elif isinstance(value, (bytearray, memoryview)):
        data = bytes(value)
    else:
        data = utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    if len(data) > limit_bytes:
        raise EventTooLarge(len(data), limit_bytes)
    return Event(data, type if type == MESSAGE else event_type(type))
