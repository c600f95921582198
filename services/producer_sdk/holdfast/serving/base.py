"""The interface of all streamers, and what a storage of one's own needs to be one."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from holdfast.adapters.sources import close_source, to_events

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Content: TypeAlias = Any
SyncContentStream: TypeAlias = Iterator[Content]
AsyncContentStream: TypeAlias = AsyncIterable[Content]
ContentStream: TypeAlias = Any
"""An async or sync iterator of chunks, or a callable that makes one (see `holdfast.adapters.Source`)."""

GENERATING: Final = "generating"

MAX_STATES: Final = 10_000
"""Sessions whose state is remembered here, for storages that do not. The oldest go."""

_log = logging.getLogger(__name__)


class BaseSSEStreamer(ABC):
    """Streams a generator's chunks to any number of viewers, each from its own place.

    For a storage of your own implement `push`, `mark_end`, `clear` and `stream`; call `maybe_start_generator` at the
    head of `stream`. Override `mark_failed` to tell viewers of a failure in your own way. Storages of several
    processes override `_get_state` and `_set_state` too: empty, `generating`, or the end marker.

    (To get resuming, gaps and sharing as well, implement `holdfast.serving.SessionStore` instead and give it to
    `holdfast.serving.StoreStreamer`.)

    Args:
        end_marker: accepted for the sake of old code; data is never compared with it.
    """

    def __init__(self, end_marker: str = "[END]") -> None:
        self.end_marker = end_marker
        self._states: dict[str, str] = {}
        self._starting = asyncio.Lock()
        self._generators: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def push(self, session_id: str, data: Content) -> None:
        """Append a chunk."""

    @abstractmethod
    async def mark_end(self, session_id: str) -> None:
        """End the session: every viewer, of now or later, gets `end` after the last chunk."""

    @abstractmethod
    async def clear(self, session_id: str) -> None:
        """Forget the session. Call `await super().clear(session_id)`, unless you keep the state yourself."""
        self._states.pop(session_id, None)

    @abstractmethod
    def stream(
        self, session_id: str, generator: ContentStream = None, last_id: str | None = "0"
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what `sse_starlette.EventSourceResponse` takes, from after `last_id`."""

    async def mark_failed(self, session_id: str, message: str = "") -> None:
        """End the session as failed. A storage that has no word for it can only end it."""
        _log.warning("%s has no mark_failed: its viewers take the failure for an end", type(self).__name__)
        await self.mark_end(session_id)

    async def response(
        self,
        request: Request,
        session_id: str,
        generator: ContentStream = None,
        **options: Any,
    ) -> Response:
        """Answer a request with the session, from where its `Last-Event-ID` left off. Needs `sse-starlette`.

        Args:
            request: the request, for its `Last-Event-ID` header or `last_event_id` query parameter.
            session_id: the session.
            generator: what produces it, if it has not begun.
            options: go to `EventSourceResponse`.
        """
        from holdfast.serving.response import event_source_response, last_event_id

        return event_source_response(self.stream(session_id, generator, last_event_id(request)), options)

    async def maybe_start_generator(self, session_id: str, generator: ContentStream) -> bool:
        """Start the generator unless the session has one or had one; an unused one is closed.

        Returns:
            whether it was started.
        """
        if generator is None:
            return False
        async with self._starting:
            if await self._get_state(session_id) in (GENERATING, self.end_marker):
                unused = True
            else:
                unused = False
                await self._set_state(session_id, GENERATING)
        if unused:
            await close_source(generator)
            return False
        task = asyncio.get_running_loop().create_task(self._generate(session_id, generator))
        self._generators.add(task)
        task.add_done_callback(self._generated)
        return True

    async def aclose(self) -> None:
        """Stop this process's generators and let go of what the streamer holds."""
        tasks = list(self._generators)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _generate(self, session_id: str, generator: ContentStream) -> None:
        try:
            async with aclosing(to_events(generator)) as events:
                async for event in events:
                    await self.push(session_id, event.text)
        except asyncio.CancelledError:
            await self.mark_failed(session_id)
            raise
        except Exception:  # noqa: BLE001  (whatever the model raises, its viewers are told)
            _log.exception("the generator of session %r failed", session_id)
            await self.mark_failed(session_id)
        else:
            await self.mark_end(session_id)
        finally:
            await self._set_state(session_id, self.end_marker)

    def _generated(self, task: asyncio.Task[None]) -> None:
        self._generators.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a session could not be ended properly", exc_info=error)

    async def _get_state(self, session_id: str) -> str:
        return self._states.get(session_id, "")

    async def _set_state(self, session_id: str, state: str) -> None:
        self._states.pop(session_id, None)
        self._states[session_id] = state
        if len(self._states) > MAX_STATES:
            del self._states[next(iter(self._states))]
