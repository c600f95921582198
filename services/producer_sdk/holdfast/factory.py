"""Streamers by name of their storage. Replacing `resumable_sse` by `holdfast` in imports is the whole switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from holdfast.serving.base import BaseSSEStreamer
from holdfast.serving.streamer import ErrorText, class_name

if TYPE_CHECKING:
    from holdfast.client import Holdfast

__all__ = ["Backend", "get_streamer"]

Backend: TypeAlias = Literal["memory", "redis", "nats"]


def get_streamer(
    backend: Backend,
    redis_client: Any | None = None,
    stream_prefix: str = "stream:chat",
    status_prefix: str = "status:chat",
    end_marker: str = "[END]",
    *,
    nats_client: Holdfast | None = None,
    error_text: ErrorText = class_name,
) -> BaseSSEStreamer:
    """Make a streamer.

    Args:
        backend: `memory` (one process), `redis` (all that share it), or `nats` (a Holdfast log).
        redis_client: for `redis`, a `redis.asyncio.Redis`.
        stream_prefix: for `redis`, of the streams' names.
        status_prefix: for `redis`, of the status hashes' names.
        end_marker: accepted for the sake of old code; data is never compared with it.
        nats_client: for `nats`, a connection of the caller's; None: one as `holdfast.connect()` makes it.
        error_text: what viewers are told when a generator raises; the exception's class, unless chosen.

    Raises:
        ValueError: an unknown backend, or `redis` without a client.
    """
    if backend == "memory":
        from holdfast.memory import MemorySSEStreamer

        return MemorySSEStreamer(end_marker, error_text=error_text)
    if backend == "redis":
        if redis_client is None:
            raise ValueError("the backend 'redis' needs redis_client, a redis.asyncio.Redis")
        from holdfast.redis_stream import RedisSSEStreamer

        return RedisSSEStreamer(redis_client, stream_prefix, status_prefix, end_marker, error_text=error_text)
    if backend == "nats":
        from holdfast.nats_stream import NatsSSEStreamer

        return NatsSSEStreamer(nats_client, end_marker, error_text=error_text)
    raise ValueError(f"no such backend: {backend!r}; there are 'memory', 'redis' and 'nats'")
