"""In-app serving: a generator in, server-sent events out, resumable, for any number of viewers.

`holdfast.factory.get_streamer` makes a streamer; `docs/from-resumable-sse.md` shows the switch.
"""

from holdfast.serving.base import BaseSSEStreamer, ContentStream
from holdfast.serving.memory_store import MemoryStore
from holdfast.serving.records import Outcome, Place, Position, Record
from holdfast.serving.store import RunLost, SessionEnded, SessionStore, StoreError, StoreUnavailable
from holdfast.serving.streamer import StoreStreamer

__all__ = [
    "BaseSSEStreamer",
    "ContentStream",
    "MemoryStore",
    "Outcome",
    "Place",
    "Position",
    "Record",
    "RunLost",
    "SessionEnded",
    "SessionStore",
    "StoreError",
    "StoreStreamer",
    "StoreUnavailable",
]
