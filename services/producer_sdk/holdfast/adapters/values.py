"""One chunk of a producer's stream as an event: text, bytes, dicts, pydantic models, dataclasses."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from holdfast.wire.event import MESSAGE, Event, event


def as_event(chunk: object, type: str = MESSAGE) -> Event:
    """Make an event of one chunk.

    An `Event` stays what it is. Text and bytes are the data. A pydantic model is its JSON (`model_dump_json`), a
    dataclass, dict, list, number, bool or None is JSON too. Anything else is its text, if its class says what that
    is: an object that only has Python's default `<x at 0x...>` would tell viewers an address, so it is refused.

    Raises:
        TypeError: the value has no form that a viewer could read.
        InvalidEventType: the name is malformed or begins with `session.`.
        EventTooLarge: more than 256 KiB.
    """
    if isinstance(chunk, Event):
        return event(chunk.data, chunk.type)
    if isinstance(chunk, str | bytes | bytearray | memoryview):
        return event(chunk, type)
    dump = getattr(chunk, "model_dump_json", None)
    if callable(dump) and not isinstance(chunk, builtins_type):
        return event(str(dump()), type)
    return event(to_json(chunk), type)


def to_json(value: object) -> str:
    """Compact JSON of a value, with models, dataclasses, dates, sets, enums and bytes inside it. Raises `TypeError`."""
    if is_plain(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=plain)
    simple = plain(value)
    return simple if isinstance(simple, str) else to_json(simple)


def is_plain(value: object) -> bool:
    """Whether `json.dumps` has a form of its own for the value (what is inside it may still need one)."""
    return value is None or isinstance(value, str | int | float | bool | dict | list | tuple)


def plain(value: Any) -> object:
    """What stands for a value in JSON. Raises `TypeError` for an object without a text of its own."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, builtins_type):
        return dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, builtins_type):
        # Not `asdict`: it copies deeply, and what is not to be copied (a client, a lock) fails there.
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, BaseException) or _has_text(value):
        return str(value)
    raise TypeError(f"{type(value).__qualname__} has no form a viewer could read: give text, bytes, a dict or a model")


def _has_text(value: object) -> bool:
    return any("__str__" in c.__dict__ for c in type(value).__mro__ if c is not object)


def is_chunk(value: object) -> bool:
    """Whether a value is itself one chunk. A model and a dict can be iterated too, but over their keys."""
    return isinstance(value, str | bytes | bytearray | memoryview | Event | Mapping) or (
        not isinstance(value, builtins_type)
        and (
            callable(getattr(value, "model_dump_json", None))
            or (dataclasses.is_dataclass(value) and not is_iterable(value))
        )
    )


def is_iterable(value: object) -> bool:
    return hasattr(value, "__aiter__") or isinstance(value, Iterable)


builtins_type = type
"""`type`, under a name that the parameter `type` of `as_event` does not hide."""
