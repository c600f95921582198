"""The streamer on any `SessionStore`: start once, replay, follow, tell how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from holdfast.adapters.values import as_event
from holdfast.serving.base import BaseSSEStreamer, ContentStream
from holdfast.serving.live import RING_BYTES, LiveSessions
from holdfast.serving.records import END, START, START_ID, Outcome, Place, Record
from holdfast.serving.runs import Runs, checked
from holdfast.serving.store import SessionStore

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

WAIT_SECONDS: Final = 10.0
"""How long a viewer without a generator waits for a session that nobody has begun."""

POLL_SECONDS: Final = 0.1


ErrorText: TypeAlias = Callable[[Exception], str]
"""What viewers are told of an exception that a generator raised."""


def class_name(error: Exception) -> str:
    """The default text of a failure. Never more than the class: an exception's own text may hold secrets."""
    return type(error).__name__


class StoreStreamer(BaseSSEStreamer):
    """A streamer on a store.

    One session id is one answer: after its end every call replays it, until it expires or is cleared.

    Args:
        store: where sessions are kept.
        end_marker: accepted for the sake of old code; data is never compared with it.
        error_text: what viewers are told when a generator raises; the exception's class, unless chosen.
        wait_seconds: how long a viewer without a generator waits for an unknown session to begin.
        ring_bytes: kept of each watched session in this process for its viewers to share.
        owns_store: whether `aclose` closes the store too.
    """

    def __init__(
        self,
        store: SessionStore,
        end_marker: str = "[END]",
        *,
        error_text: ErrorText = class_name,
        wait_seconds: float = WAIT_SECONDS,
        ring_bytes: int = RING_BYTES,
        owns_store: bool = False,
    ) -> None:
        super().__init__(end_marker)
        self._owns_store = owns_store
        self.store = store
        self._runs = Runs(store, error_text)
        self._live = LiveSessions(store, ring_bytes=ring_bytes)
        self._wait_seconds = wait_seconds

    async def push(self, session_id: str, data: ContentStream) -> None:
        """Append a chunk from outside of any generator; opens the session if it is new.

        Raises:
            SessionEnded: it has ended.
            InvalidEventType: an event named `end`, `failed`, `gap`, or `session.` something.
            StoreUnavailable: the storage cannot be reached; whether the chunk is stored is not known.
        """
        await self.store.append(session_id, None, 0, [checked(as_event(data))])

    async def mark_end(self, session_id: str) -> None:
        """End the session. Its terminal stands: a second end or failure changes nothing."""
        await self.store.finish(session_id, None, END)

    async def mark_failed(self, session_id: str, message: str = "") -> None:
        """End the session as failed, with a text for its viewers."""
        await self.store.finish(session_id, None, Outcome("failed", "producer_error", message))

    async def clear(self, session_id: str) -> None:
        """Stop the session's generator and forget the session; who still watches is told `failed`."""
        await self.store.erase(session_id)
        await self._runs.stop(session_id)

    async def maybe_start_generator(self, session_id: str, generator: ContentStream) -> bool:
        """Start the generator if this is, over all processes, the first for the session; else close it unused."""
        return generator is not None and await self._runs.start_first(session_id, generator)

    async def stream(
        self, session_id: str, generator: ContentStream = None, last_id: str | None = START_ID
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield a viewer's events for `sse_starlette.EventSourceResponse`.

        `message` (or the chunk's own type) with an id for each chunk; then `end` with empty data, or `failed` with
        `{reason, message}`. Before these, `gap` with `{reason, requested}` if `last_id` was no place in this session.
        A viewer that leaves stops nothing.

        Args:
            session_id: any text. One id is one answer.
            generator: an async or sync iterator, or a callable that makes one. Started by the first call for the
                session, over all processes; every other call closes it unused.
            last_id: the id of the last event the viewer has; `0`, empty or None: from the start.
        """
        await self.maybe_start_generator(session_id, generator)
        place = await self._locate(session_id, last_id or START_ID)
        async with aclosing(self._events(session_id, place, terminal_id=False)) as events:
            async for event in events:
                yield event

    async def response(
        self, request: Request, session_id: str, generator: ContentStream = None, **options: Any
    ) -> Response:
        """Answer a request from where its `Last-Event-ID` left off. Needs `sse-starlette`.

        Unlike `stream`, the terminal has an id; a browser that comes back with it is answered 204, which stops its
        reconnecting.
        """
        from holdfast.serving.response import event_source_response, last_event_id, no_content

        await self.maybe_start_generator(session_id, generator)
        place = await self._locate(session_id, last_event_id(request))
        if place is not None and place.at_end:
            return no_content()
        return event_source_response(self._events(session_id, place, terminal_id=True), options)

    async def aclose(self) -> None:
        """Stop this process's generators (viewers are told `producer_stopped`) and its readers."""
        await self._runs.aclose()
        await self._live.aclose()
        if self._owns_store:
            await self.store.aclose()

    async def _locate(self, session_id: str, last_id: str) -> Place | None:
        # Another process may be the one to begin it: there is nothing here to wait for but the store. By the clock
        # and not by a time-out: on Python 3.11 a client that sends by `wait_for` can swallow its cancellation.
        clock = asyncio.get_running_loop().time
        until = clock() + self._wait_seconds
        while (place := await self.store.locate(session_id, last_id)) is None and clock() < until:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return place

    async def _events(
        self, session_id: str, place: Place | None, *, terminal_id: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        if place is None:
            unknown = Outcome("failed", "unknown_session")
            yield Record(START, "", "failed", unknown.data).to_sse(terminal_id=False)
            return
        if place.gap is not None:
            yield place.gap.to_sse(terminal_id=False)
        async with aclosing(self._live.watch(session_id, place.run, place.after)) as records:
            async for record in records:
                yield record.to_sse(terminal_id=terminal_id)
