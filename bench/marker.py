"""The marker a producer puts in an event's data, and the payload around it.

The load client (``load/sseload.c``) finds it in whatever framing a system wraps it in: plain SSE lines, JSON in SSE,
several events a frame. It carries the producer's clock and a dense index, so a viewer's record alone shows latency,
loss, duplicates and order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARKER_BYTES = 27
_MARKER = re.compile(rb"@T(\d{16})(\d{8})@")
_INDEX_LIMIT = 10**8


@dataclass(frozen=True, slots=True)
class Marker:
    """What one event says about itself.

    Attributes:
        stamp_us: CLOCK_MONOTONIC at the producer when it made the event, microseconds.
        index: The event's place in its session, from 0 without holes.
    """

    stamp_us: int
    index: int


def encode(stamp_us: int, index: int, payload_bytes: int) -> str:
    """Make an event's data of exactly ``payload_bytes`` characters that starts with its marker.

    Raises:
        ValueError: the index has more than eight digits, or the payload has no room for a marker.
    """
    if not 0 <= index < _INDEX_LIMIT:
        raise ValueError(f"index {index} does not fit eight digits")
    if payload_bytes < MARKER_BYTES:
        raise ValueError(f"a payload holds at least the {MARKER_BYTES} bytes of its marker, not {payload_bytes}")
    return f"@T{stamp_us:016d}{index:08d}@".ljust(payload_bytes, "x")


def find(data: bytes) -> list[Marker]:
    """Return the markers in ``data``, in order."""
    return [Marker(int(m[1]), int(m[2])) for m in _MARKER.finditer(data)]
