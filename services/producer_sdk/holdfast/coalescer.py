"""What waits to be published: a bounded queue of events, taken out in messages.

Rules, each with its reason:

* Leading edge. The first event after a pause goes at once; only what follows within the minimum publish interval
  waits. A model slower than the interval pays nothing, a faster one costs the broker a third.
* Events stay events. A message carries several, each with its own length and type; nothing is joined.
* Bounds in bytes and in events, counting what is in flight. A million one-byte tokens are 1 MiB of text and
  150 MiB of Python.
* One event larger than the whole bound is let into an empty queue: the contract allows it, so it must be sendable.
"""

from __future__ import annotations

from collections import deque

from holdfast.errors import BufferFull
from holdfast.wire import Batch, Event


class Coalescer:
    """The queue of one session. No clock: `now` comes in, in seconds of any monotonic clock."""

    __slots__ = (
        "events",
        "interval_seconds",
        "limit_bytes",
        "limit_events",
        "next_at",
        "queue",
        "size_bytes",
        "urgent",
    )

    def __init__(self, interval_seconds: float, limit_bytes: int, limit_events: int) -> None:
        self.queue: deque[Event] = deque()
        self.interval_seconds = interval_seconds
        self.limit_bytes = limit_bytes
        self.limit_events = limit_events
        self.size_bytes = 0
        self.events = 0
        self.next_at = 0.0
        self.urgent = False

    def add(self, event: Event) -> None:
        """Take an event. Raises `BufferFull`, having taken nothing."""
        size = self.size_bytes + len(event.data)
        if (size > self.limit_bytes and self.events) or self.events >= self.limit_events:
            raise BufferFull(self.size_bytes, self.events, self.limit_bytes, self.limit_events)
        self.queue.append(event)
        self.size_bytes = size
        self.events += 1

    def has_room(self, size_bytes: int) -> bool:
        return not self.events or (self.size_bytes + size_bytes <= self.limit_bytes and self.events < self.limit_events)

    def due_at(self, now: float) -> float:
        """When the next message may go: `now` or later."""
        return now if self.urgent or self.next_at <= now else self.next_at

    def take(self, now: float) -> list[Event]:
        """The next message's events. They count against the bounds until `settled`."""
        queue, batch = self.queue, Batch()
        while queue and batch.fits(queue[0]):
            batch.add(queue.popleft())
        # Counted from when it was due, not from when the timer came round: else every late timer pushes all later ones
        # back, until a model as fast as the interval waits half of it on average.
        due = self.next_at if now - self.next_at < self.interval_seconds else now
        self.next_at = due + self.interval_seconds
        if not queue:
            self.urgent = False
        return batch.events

    def settled(self, events: list[Event]) -> None:
        """These are stored: their room is free again."""
        self.size_bytes -= sum([len(e.data) for e in events])
        self.events -= len(events)

    def clear(self) -> None:
        """Forget what is queued (not what was taken)."""
        self.settled(list(self.queue))
        self.queue.clear()
        self.urgent = False
