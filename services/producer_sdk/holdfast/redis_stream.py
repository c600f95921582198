"""The streamer on Redis Streams. `resumable_sse.redis_stream` has this name too. Needs the extra `redis`."""

from __future__ import annotations

from typing import Any

from holdfast.serving.redis_store import RedisStore
from holdfast.serving.streamer import ErrorText, StoreStreamer, class_name

__all__ = ["RedisSSEStreamer"]


class RedisSSEStreamer(StoreStreamer):
    """Sessions in Redis: any process serves any viewer, one of them runs the generator.

    Args:
        redis_client: a `redis.asyncio.Redis`. It stays the caller's to close.
        stream_prefix: of the streams' names.
        status_prefix: of the status hashes' names.
        end_marker: accepted for the sake of old code; data is never compared with it.
        store: a `RedisStore` with other bounds than the default's; the prefixes are then its own.
        error_text: what viewers are told when a generator raises; the exception's class, unless chosen.
    """

    def __init__(
        self,
        redis_client: Any,
        stream_prefix: str = "stream:chat",
        status_prefix: str = "status:chat",
        end_marker: str = "[END]",
        *,
        store: RedisStore | None = None,
        error_text: ErrorText = class_name,
    ) -> None:
        made = store or RedisStore(redis_client, stream_prefix, status_prefix)
        super().__init__(made, end_marker, error_text=error_text, owns_store=store is None)
        self.client = redis_client
        self.stream_prefix = stream_prefix
        self.status_prefix = status_prefix
