"""One chunk as an event."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import pydantic
import pytest

from holdfast.adapters import Event, as_event
from holdfast.wire.errors import EventTooLarge, InvalidEventType


class Model(pydantic.BaseModel):
    a: int
    when: datetime.date


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None


class Colour(enum.Enum):
    RED = "red"


DAY = datetime.date(2026, 11, 1)


@pytest.mark.parametrize(
    ("chunk", "data"),
    [
        ("Grüße", "Grüße".encode()),
        (b"bytes", b"bytes"),
        (bytearray(b"ba"), b"ba"),
        (memoryview(b"mv"), b"mv"),
        ("", b""),
        ({"b": [1, None], "a": "ü"}, '{"b":[1,null],"a":"ü"}'.encode()),
        ([1, "x"], b'[1,"x"]'),
        (3, b"3"),
        (True, b"true"),
        (None, b"null"),
        (Model(a=1, when=DAY), b'{"a":1,"when":"2026-11-01"}'),
        (Point(1), b'{"x":1,"inner":null}'),
        (Point(1, Model(a=2, when=DAY)), b'{"x":1,"inner":{"a":2,"when":"2026-11-01"}}'),
        (
            {"p": Point(1), "c": Colour.RED, "d": decimal.Decimal("1.5")},
            b'{"p":{"x":1,"inner":null},"c":"red","d":"1.5"}',
        ),
        ({"b": b"\x00\xff"}, b'{"b":"AP8="}'),
        (DAY, b"2026-11-01"),
        (uuid.UUID(int=1), b"00000000-0000-0000-0000-000000000001"),
        ("\ud83d\ude00", "😀".encode()),
    ],
)
def test_what_people_put_into_streams(chunk: object, data: bytes) -> None:
    assert as_event(chunk) == Event(data, "message")


def test_a_set_is_a_list() -> None:
    assert sorted(json.loads(as_event({1, 2}).data)) == [1, 2]


def test_an_object_without_a_text_is_refused() -> None:
    """`<object at 0x7f...>` would tell viewers an address, and nothing they can use."""
    with pytest.raises(TypeError, match="object has no form"):
        as_event(object())
    with pytest.raises(TypeError, match="object has no form"):
        as_event({"deep": object()})


def test_a_type_of_one_s_own() -> None:
    assert as_event({"n": 1}, "usage") == (b'{"n":1}', "usage")
    assert as_event(Event(b"x", "delta")) == (b"x", "delta")


@pytest.mark.parametrize("name", ["session.end", "session.", "", "a b", "ä", "x" * 65, "a\nb"])
def test_reserved_and_malformed_types_are_refused(name: str) -> None:
    with pytest.raises(InvalidEventType):
        as_event("x", name)
    with pytest.raises(InvalidEventType):
        as_event(Event(b"x", name))


def test_a_model_class_is_not_a_model() -> None:
    """A class has the methods too; calling them unbound would fail obscurely."""
    with pytest.raises(TypeError, match="no form"):
        as_event(Model)


def test_too_large() -> None:
    with pytest.raises(EventTooLarge):
        as_event("x" * (256 * 1024 + 1))
