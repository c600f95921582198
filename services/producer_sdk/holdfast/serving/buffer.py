"""Chunks on their way from a generator to the storage: a bounded buffer between the model's pace and the storage's."""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast.wire.event import Event

MAX_BUFFER_EVENTS: Final = 1024
MAX_BUFFER_BYTES: Final = 1024 * 1024
"""Per run. When full, the generator waits. What is in it goes to the storage in one call."""


class ChunkBuffer:
    """One producer, one consumer, one event loop."""

    def __init__(self, *, max_events: int = MAX_BUFFER_EVENTS, max_bytes: int = MAX_BUFFER_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: list[Event] = []
        self._size_bytes = 0
        self._closed = False
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    async def put(self, event: Event) -> None:
        """Add an event; waits while the buffer is full. Cancelling may leave the event out, never in part."""
        while self._events and (
            len(self._events) >= self._max_events or self._size_bytes + len(event.data) > self._max_bytes
        ):
            self._drained.clear()
            await self._drained.wait()
        self._events.append(event)
        self._size_bytes += len(event.data)
        self._filled.set()

    def close(self) -> None:
        """Nothing more comes; what is there is still taken."""
        self._closed = True
        self._filled.set()

    async def take(self) -> list[Event]:
        """All that is there, waiting while nothing is; empty when closed and drained. Cancelling loses nothing."""
        while not self._events and not self._closed:
            self._filled.clear()
            await self._filled.wait()
        taken, self._events, self._size_bytes = self._events, [], 0
        self._drained.set()
        return taken
