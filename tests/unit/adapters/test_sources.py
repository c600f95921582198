"""Streams of any kind as events."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pydantic
import pytest

from holdfast.adapters import Event, close_source, iterate, to_events


async def agen() -> AsyncIterator[object]:
    yield "a"
    yield {"n": 1}
    yield Event(b"c", "delta")


def gen() -> Iterator[object]:
    yield "a"
    yield {"n": 1}
    yield Event(b"c", "delta")


class Iterable:
    """Neither iterator nor generator: like a client's stream."""

    closed = False

    def __aiter__(self) -> AsyncIterator[object]:
        return agen()

    async def close(self) -> None:
        self.closed = True


async def make() -> AsyncIterator[object]:
    return agen()


@asynccontextmanager
async def opened() -> AsyncIterator[AsyncIterator[object]]:
    yield agen()


WANTED = [(b"a", "message"), (b'{"n":1}', "message"), (b"c", "delta")]


@pytest.mark.parametrize(
    "source",
    [agen(), gen(), agen, gen, make, make(), lambda: make(), Iterable(), [*gen()], tuple(gen()), opened(), opened],
    ids=lambda made: type(made).__name__,
)
async def test_every_kind_of_source(source: object) -> None:
    """Iterators, callables and coroutines that make one, context managers around one."""
    assert [e async for e in to_events(source)] == WANTED


class Model(pydantic.BaseModel):
    a: int = 1


@dataclasses.dataclass
class Point:
    x: int = 1


@pytest.mark.parametrize(
    ("chunk", "data"), [("text", b"text"), ({"a": 1}, b'{"a":1}'), (Model(), b'{"a":1}'), (Point(), b'{"x":1}')]
)
async def test_one_chunk_is_a_stream_of_one(chunk: object, data: bytes) -> None:
    """Text, a dict and a model can be iterated too; nobody wants their letters or keys."""
    assert [e.data async for e in to_events(chunk)] == [data]


async def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(TypeError, match="int is not a stream"):
        [e async for e in to_events(3)]


async def test_bytes_that_end_inside_a_character() -> None:
    """An HTTP body's pieces end anywhere; a viewer must never see half a character."""
    body = "Grüße, 世界 😀".encode()
    for size in range(1, 9):
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        events = [e async for e in to_events(pieces)]
        assert b"".join(e.data for e in events) == body
        for e in events:
            e.data.decode()


async def test_bytes_that_are_cut_off_or_broken_are_marked() -> None:
    assert "".join([e.text async for e in to_events([b"a\xffb", b"\xe4\xb8"])]) == "a\ufffdb\ufffd"


async def test_stopping_early_closes_an_async_generator() -> None:
    closed = False

    async def watched() -> AsyncIterator[str]:
        nonlocal closed
        try:
            yield "a"
            yield "b"
        finally:
            closed = True

    async with aclosing(to_events(watched())) as events:
        await anext(events)
    assert closed


async def test_a_client_s_stream_is_closed() -> None:
    stream = Iterable()
    [e async for e in to_events(stream)]
    assert stream.closed


async def test_iterate_leaves_the_chunks_as_they_are() -> None:
    assert [c async for c in iterate(gen)] == ["a", {"n": 1}, Event(b"c", "delta")]


async def test_closing_what_was_never_used() -> None:
    """An unused generator, coroutine or stream: nothing of it runs, no warning is left behind (warnings are errors)."""
    ran = False

    async def never() -> AsyncIterator[str]:
        nonlocal ran
        ran = True
        yield "a"

    async def coroutine() -> Any:
        nonlocal ran
        ran = True

    stream = Iterable()
    for unused in (never(), coroutine(), gen(), stream, never, "text", ["a"]):
        await close_source(unused)
    assert stream.closed
    assert not ran
