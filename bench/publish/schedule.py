"""When which session's next event is due: the same for every system under test.

The load is open: an event is made when it is due, whether or not the one before it has been taken, and its marker
holds that time. A system that takes events late shows it as latency instead of hiding it as a slower producer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import marker

Emit = Callable[[int, str], None]

_TICK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Plan:
    """A load.

    Attributes:
        sessions: How many sessions, each with its own producer.
        rate: Events per second and session.
        events: Events per session.
        payload_bytes: Bytes of one event's data, marker included.
    """

    sessions: int
    rate: float
    events: int
    payload_bytes: int = 256

    @property
    def total(self) -> int:
        """Return the number of events over all sessions."""
        return self.sessions * self.events

    @property
    def seconds(self) -> float:
        """Return how long the schedule lasts."""
        return self.events / self.rate

    def due(self, elapsed_seconds: float) -> int:
        """Return how many events are due by then; sessions are staggered evenly within one interval."""
        return min(self.total, int(elapsed_seconds * self.rate * self.sessions) + 1) if elapsed_seconds >= 0 else 0

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read it from JSON."""
        return cls(**json.loads(text))


@dataclass(slots=True)
class Lateness:
    """How far the schedule itself fell behind, because this process got no time."""

    worst_seconds: float = 0.0


async def produce(plan: Plan, emit: Emit, *, start_us: int) -> Lateness:
    """Call ``emit(session, data)`` for each event when it is due, from ``start_us`` on (CLOCK_MONOTONIC).

    Cancelling it stops the schedule; what was emitted stays emitted.
    """
    start = start_us / 1e6
    lateness = Lateness()
    interval = 1 / (plan.rate * plan.sessions)
    done = 0
    while done < plan.total:
        now = time.monotonic()
        due = plan.due(now - start)
        if due > done:
            lateness.worst_seconds = max(lateness.worst_seconds, now - start - done * interval)
        while done < due:
            emit(
                done % plan.sessions,
                marker.encode(time.monotonic_ns() // 1000, done // plan.sessions, plan.payload_bytes),
            )
            done += 1
            if done % 64 == 0 and time.monotonic() - now > 4 * _TICK_SECONDS:
                break  # far behind: let what was emitted go out
        wait = start + done * interval - time.monotonic()
        await asyncio.sleep(max(wait, _TICK_SECONDS) if done == due else 0.0)
    return lateness
