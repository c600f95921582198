"""Streams of any kind as one: async and sync iterators, callables that make one, async context managers."""

from __future__ import annotations

import asyncio
import codecs
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

from holdfast.adapters.threads import iterate_in_thread
from holdfast.adapters.values import as_event, is_chunk
from holdfast.wire.event import MESSAGE, Event

Source: TypeAlias = object
"""An async or sync iterable of chunks, one chunk, an awaitable or callable that gives one of these, or an async
context manager around one. Not a union: the libraries' stream types share no base."""


async def to_events(source: Source) -> AsyncGenerator[Event, None]:
    """Turn any source of chunks into events, each chunk by `as_event`.

    Bytes are joined where a chunk ends inside a UTF-8 character. Sync iterators run in a thread of their own. The
    source is closed when it is exhausted, fails, or the consumer stops; a consumer that may stop early wraps this in
    `contextlib.aclosing`.
    """
    decoder: codecs.IncrementalDecoder | None = None
    async with aclosing(iterate(source)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, bytes | bytearray | memoryview):
                decoder = decoder or codecs.getincrementaldecoder("utf-8")("replace")
                if text := decoder.decode(bytes(chunk)):
                    yield as_event(text)
            else:
                yield as_event(chunk)
    if decoder is not None and (rest := decoder.decode(b"", final=True)):
        yield as_event(rest, MESSAGE)


async def iterate(source: Source) -> AsyncGenerator[Any, None]:
    """Yield a source's chunks as they are. Closes the source when done, failed or stopped."""
    opened = await resolve(source)
    if is_chunk(opened):
        yield opened
    elif hasattr(opened, "__aiter__"):
        try:
            async for chunk in opened:
                yield chunk
        finally:
            await close_source(opened)
    elif isinstance(opened, AbstractAsyncContextManager):
        # pydantic-ai's run_stream_events and the Anthropic SDK's messages.stream give such a thing.
        async with opened as entered, aclosing(iterate(entered)) as chunks:
            async for chunk in chunks:
                yield chunk
    elif hasattr(opened, "__iter__") or hasattr(opened, "__next__"):
        async with aclosing(iterate_in_thread(opened)) as chunks:
            async for chunk in chunks:
                yield chunk
    else:
        raise TypeError(
            f"{type(opened).__qualname__} is not a stream: give an async or sync iterator, or what makes one"
        )


async def resolve(source: Source) -> Any:
    """Call what makes a source and await what is awaitable, until a source itself is there."""
    while not is_chunk(source):
        if inspect.isawaitable(source):
            source = await source
        elif callable(source) and not _is_stream(source):
            make: Callable[[], Any] = source
            source = make()
        else:
            break
    return source


def _is_stream(value: object) -> bool:
    # contextlib's context managers are callable too, as decorators.
    return (
        hasattr(value, "__aiter__") or hasattr(value, "__iter__") or isinstance(value, AbstractAsyncContextManager)
    ) and not isinstance(value, type)


async def close_source(source: Source) -> None:
    """Close a source, also one that was never iterated: an unused generator, coroutine or open HTTP stream.

    A callable has made nothing yet and is left alone. A sync `close` runs off the event loop.
    """
    if inspect.iscoroutine(source):
        source.close()
        return
    if is_chunk(source):
        return
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if not callable(close) or isinstance(source, type):
        return
    if inspect.iscoroutinefunction(close) or hasattr(source, "aclose"):
        result = close()
    else:
        result = await asyncio.to_thread(close)
    if inspect.isawaitable(result):
        await result
