"""What a type checker must see in the public interface. Checked by mypy in `test_typing`, never run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Literal, assert_type

import holdfast
import holdfast.sync
import holdfast.testing


async def asynchronous(model: AsyncIterator[str]) -> None:
    async with holdfast.connect("nats://a,nats://b") as hf:
        assert_type(hf, holdfast.Holdfast)
        async with hf.session("chat-42", if_open="raise", lease_seconds=None) as s:
            assert_type(s, holdfast.Session)
            assert_type(s.cursor, str)
            assert_type(s.run, int)
            assert_type(s.cancelled, asyncio.Event)
            assert_type(s.error, holdfast.HoldfastError | None)
            s.write({"any": ["json"]}, "delta")
            assert_type(await s.end({"tokens": 3}), None)
        async with hf.resume("chat-42") as taken:
            assert_type(taken.history, tuple[holdfast.Event, ...])
        result = await hf.pipe("chat-42", model)
        assert_type(result, holdfast.PipeResult)
        assert_type(result.status, Literal["ended", "cancelled"])
        assert_type(hf.launch("chat-42", model), asyncio.Task[holdfast.PipeResult])
        async for event in hf.read("chat-42", s.cursor, follow=True):
            assert_type(event, holdfast.StreamEvent)
            assert_type(event.id, str | None)
            assert_type(event.data, bytes)
        assert_type(await hf.cancel("chat-42"), Literal["cancelled", "pending", "not_open"])
        assert_type(await hf.state("chat-42"), holdfast.RunState)
        hf.session("chat-42", if_open="wait")  # type: ignore[arg-type]
        hf.session("chat-42", lease="30")  # type: ignore[call-arg]
    async with holdfast.testing.memory() as twin:
        assert_type(twin, holdfast.Holdfast)


def synchronous() -> None:
    with holdfast.sync.connect() as hf:
        assert_type(hf, holdfast.sync.Holdfast)
        with hf.session("chat-42") as s:
            assert_type(s, holdfast.sync.Session)
            assert_type(s.cancelled, threading.Event)
            s.write("token")
        for event in hf.read("chat-42"):
            assert_type(event, holdfast.StreamEvent)
        assert_type(hf.cancel("chat-42"), Literal["cancelled", "pending", "not_open"])
