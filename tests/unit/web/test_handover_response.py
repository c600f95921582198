"""The response's own decisions, without a server: what happens when the head cannot be sent."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from holdfast_gateway.web.event_stream import EventStream
from holdfast_gateway.web.handover import EXTENSION, Handle, handle_in
from tests.unit.runtime.world import KEY, world


class Possible(Handle):
    """A handle whose connection could be taken; here it never comes to that."""

    __slots__ = ()
    possible = True  # type: ignore[assignment]

    def __init__(self) -> None: ...


async def test_a_head_that_cannot_be_sent_leaves_no_viewer() -> None:
    async def broken(message: Message) -> None:
        raise ConnectionError("the client is gone")

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async with world() as w:
        await w.start()
        outcome = await w.hub.attach(KEY)
        response = EventStream(outcome.viewer)  # type: ignore[union-attr]
        with pytest.raises(ConnectionError):
            await response({"type": "http", "method": "GET", "extensions": {EXTENSION: Possible()}}, receive, broken)
        assert w.hub.viewers == 0


async def test_a_request_cancelled_while_its_head_waits_leaves_no_viewer() -> None:
    async def stuck(message: Message) -> None:
        await asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async with world() as w:
        await w.start()
        outcome = await w.hub.attach(KEY)
        response = EventStream(outcome.viewer)  # type: ignore[union-attr]
        scope = {"type": "http", "method": "GET", "extensions": {EXTENSION: Possible()}}
        sending = asyncio.ensure_future(response(scope, receive, stuck))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert w.hub.viewers == 0


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {EXTENSION: "forged"}}])
def test_a_scope_without_a_handle_of_ours_takes_the_asgi_way(scope: dict[str, object]) -> None:
    assert handle_in(scope) is None
