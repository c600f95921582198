"""FastAPI with sse-starlette and a queue per viewer: what most services write first."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from fastapi import FastAPI
from sse_starlette import EventSourceResponse, ServerSentEvent

from bench.apps.produce import routes
from bench.publish.schedule import Emit, Plan

_viewers: dict[int, set[asyncio.Queue[ServerSentEvent]]] = defaultdict(set)
_counts: dict[int, int] = defaultdict(int)


def _publish(session: int, data: str) -> None:
    _counts[session] += 1
    event = ServerSentEvent(data, id=str(_counts[session]))
    for queue in _viewers[session]:
        queue.put_nowait(event)


async def _opened(plan: Plan, first: int) -> Emit:
    return lambda session, data: _publish(first + session, data)


async def _nothing() -> None:
    return None


async def _follow(session: int) -> AsyncIterator[ServerSentEvent]:
    queue: asyncio.Queue[ServerSentEvent] = asyncio.Queue()
    _viewers[session].add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        _viewers[session].discard(queue)


app = FastAPI()
app.include_router(routes(_opened, _nothing, _nothing))


@app.get("/events/{session}")
async def events(session: int) -> EventSourceResponse:
    """Follow a session's live events."""
    return EventSourceResponse(_follow(session))
