"""resumable-sse as its documentation has it: a streamer with the Redis backend, a generator per session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import redis.asyncio as redis
from fastapi import FastAPI, Request
from resumable_sse.factory import get_streamer  # type: ignore[import-not-found]
from sse_starlette import EventSourceResponse

from bench.apps.produce import routes
from bench.publish.schedule import Emit, Plan

_client = redis.Redis.from_url(os.environ["BENCH_REDIS"], max_connections=20_000)
_streamer = get_streamer(backend="redis", redis_client=_client)
_model_output: dict[int, asyncio.Queue[str]] = {}
_pushed = 0
_expected = 0


async def _model(session: int) -> AsyncIterator[str]:
    global _pushed
    while True:
        yield await _model_output[session].get()
        _pushed += 1


async def _nobody() -> AsyncIterator[str]:
    return
    yield


async def _opened(plan: Plan, first: int) -> Emit:
    global _expected, _pushed
    _expected, _pushed = plan.total, 0
    sessions = range(first, first + plan.sessions)
    for session in sessions:
        _model_output[session] = asyncio.Queue()
    await asyncio.gather(*(_streamer.maybe_start_generator(str(s), _model(s)) for s in sessions))
    return lambda session, data: _model_output[first + session].put_nowait(data)


async def _settle() -> None:
    while _pushed < _expected:  # noqa: ASYNC110  an event per token would cost the peer time
        await asyncio.sleep(0.05)


async def _nothing() -> None:
    return None


app = FastAPI()
app.include_router(routes(_opened, _settle, _nothing))


@app.get("/events/{session}")
async def events(session: int, request: Request) -> EventSourceResponse:
    """Follow a session, from the cursor a returning viewer brings."""
    cursor = request.headers.get("last-event-id", "0")
    return EventSourceResponse(_streamer.stream(str(session), _nobody(), cursor))
