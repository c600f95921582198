"""The names that `resumable_sse.base` has."""

from holdfast.adapters.threads import iterate_in_thread as iterate_in_threadpool
from holdfast.serving.base import AsyncContentStream, BaseSSEStreamer, Content, ContentStream, SyncContentStream

__all__ = [
    "AsyncContentStream",
    "BaseSSEStreamer",
    "Content",
    "ContentStream",
    "SyncContentStream",
    "iterate_in_threadpool",
]
