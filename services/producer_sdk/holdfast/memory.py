"""The streamer on this process's memory. `resumable_sse.memory` has this name too."""

from __future__ import annotations

from holdfast.serving.memory_store import MemoryStore
from holdfast.serving.streamer import ErrorText, StoreStreamer, class_name

__all__ = ["MemorySSEStreamer"]


class MemorySSEStreamer(StoreStreamer):
    """Sessions in memory: one process, nothing outlives it.

    Args:
        end_marker: accepted for the sake of old code; data is never compared with it.
        store: a `MemoryStore` with other bounds than the default's.
        error_text: what viewers are told when a generator raises; the exception's class, unless chosen.
    """

    def __init__(
        self, end_marker: str = "[END]", *, store: MemoryStore | None = None, error_text: ErrorText = class_name
    ) -> None:
        super().__init__(store or MemoryStore(), end_marker, error_text=error_text, owns_store=store is None)
