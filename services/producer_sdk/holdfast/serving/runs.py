"""Generators that run on their own: started once, owned here, stopped by nobody's leaving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

from holdfast.adapters.sources import Source, close_source, to_events
from holdfast.serving.buffer import ChunkBuffer
from holdfast.serving.records import END, RESERVED_TYPES, STOPPED, Outcome
from holdfast.serving.store import RunLost, SessionStore, StoreError
from holdfast.wire.errors import InvalidEventType
from holdfast.wire.event import Event

FLUSH_SECONDS: Final = 5.0
"""How long a stopped process tries to tell viewers that their answer was stopped."""

_log = logging.getLogger(__name__)


class Runs:
    """The generators of this process.

    Args:
        store: where their chunks go.
        error_text: what viewers are told of an exception. Its own text may hold secrets.
    """

    def __init__(self, store: SessionStore, error_text: Callable[[Exception], str]) -> None:
        self._store = store
        self._error_text = error_text
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._starting: set[asyncio.Task[bool]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def start_first(self, session_id: str, source: Source) -> bool:
        """Run the generator to its end, if it is the session's first; else close it unused. Whether it runs.

        In a task of its own: a viewer that leaves just now must not leave a session behind that is begun and has no
        generator. Raises what the storage does; the generator is closed then too.
        """
        task = asyncio.get_running_loop().create_task(self._start_first(session_id, source))
        self._starting.add(task)
        task.add_done_callback(self._started)
        return await asyncio.shield(task)

    async def _start_first(self, session_id: str, source: Source) -> bool:
        run = None
        try:
            if (run := await self._store.begin(session_id)) is not None:
                self._start(session_id, run, source)
        finally:
            if run is None:
                await close_source(source)
        return run is not None

    def _started(self, task: asyncio.Task[bool]) -> None:
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("a session could not be begun", exc_info=error)  # its caller has it too, if it waits still

    def _start(self, session_id: str, run: str, source: Source) -> None:
        task = asyncio.get_running_loop().create_task(self._produce(session_id, run, source))
        self._tasks[session_id, run] = task
        task.add_done_callback(lambda t: self._done(session_id, run, t))

    def _done(self, session_id: str, run: str, task: asyncio.Task[None]) -> None:
        del self._tasks[session_id, run]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the run of session %r could not be ended properly", session_id, exc_info=error)

    async def stop(self, session_id: str) -> None:
        """Stop the session's generator, if it runs here, and wait until it is closed."""
        await _cancel([task for (of, _), task in self._tasks.items() if of == session_id])

    async def aclose(self) -> None:
        """Stop all generators. Their viewers are told `failed` with the reason `producer_stopped`."""
        await _cancel(list(self._starting))
        await _cancel(list(self._tasks.values()))

    async def _produce(self, session_id: str, run: str, source: Source) -> None:
        try:
            error = await self._pump(session_id, run, source)
        except asyncio.CancelledError:
            await self._finish_soon(session_id, run, STOPPED)
            raise
        except ExceptionGroup as group:
            if group.subgroup(RunLost) is not None:
                _log.info("stopped the generator of session %r: its run is over", session_id)
                return
            _log.error("gave the run of session %r up: its storage failed", session_id, exc_info=group)
            await self._finish_soon(session_id, run, Outcome("failed", "storage_failed"))
        else:
            await self._store.finish(session_id, run, self._outcome(session_id, error))

    def _outcome(self, session_id: str, error: Exception | None) -> Outcome:
        if error is None:
            return END
        _log.error("the generator of session %r failed", session_id, exc_info=error)
        return Outcome("failed", "producer_error", self._error_text(error))

    async def _finish_soon(self, session_id: str, run: str, outcome: Outcome) -> None:
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._store.finish(session_id, run, outcome)
        except (TimeoutError, StoreError) as e:
            _log.warning("could not tell viewers of session %r that it was stopped: %r", session_id, e)

    async def _pump(self, session_id: str, run: str, source: Source) -> Exception | None:
        """Carry all chunks over. Returns what the generator raised; raises what the storage did, in a group."""
        buffer = ChunkBuffer()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_read(source, buffer))
            group.create_task(self._write(session_id, run, buffer))
        return reading.result()

    async def _write(self, session_id: str, run: str, buffer: ChunkBuffer) -> None:
        first = 1
        while True:
            try:
                async with asyncio.timeout(self._store.lease_seconds / 3):
                    events = await buffer.take()
            except TimeoutError:
                await self._store.renew(session_id, run)
                continue
            if not events:
                return
            await self._store.append(session_id, run, first, events)
            first += len(events)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _read(source: Source, buffer: ChunkBuffer) -> Exception | None:
    # What the model raises is returned: raised here, it would cancel the writer with chunks still in the buffer.
    try:
        async with aclosing(to_events(source)) as events:
            async for event in events:
                await buffer.put(checked(event))
    except Exception as e:  # noqa: BLE001
        return e
    finally:
        buffer.close()
    return None


def checked(event: Event) -> Event:
    """Refuse the names that the streamer itself sends. Raises `InvalidEventType`."""
    if event.type in RESERVED_TYPES:
        raise InvalidEventType(event.type)
    return event
