"""Answers on their way to who asked: one inbox per connection, a token per request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from holdfast_gateway.ports import SourceUnavailable

MAX_REQUESTS = 4096
"""Requests in flight on one connection; more are refused as unavailable."""

Take = Callable[["bytes | None", bytes], None]
"""Gets header block and body of each message of an answer, as it comes in."""


class Replies:
    """Open requests by token. `waiting`: futures to be failed when the connection is lost."""

    def __init__(self) -> None:
        self.inbox = ""
        self.waiting: set[asyncio.Future[Any]] = set()
        self._takes: dict[bytes, Take] = {}
        self._token = 0

    @contextlib.contextmanager
    def open(self, take: Take) -> Iterator[str]:
        """The reply subject of one request, for as long as the block lasts. Raises `SourceUnavailable`: too many."""
        if len(self._takes) >= MAX_REQUESTS:
            raise SourceUnavailable("too many requests in flight")
        self._token += 1
        token = b"%d" % self._token
        self._takes[token] = take
        try:
            yield f"{self.inbox}.{self._token}"
        finally:
            del self._takes[token]

    def on_reply(self, subject: bytes, block: bytes | None, payload: bytes) -> None:
        take = self._takes.get(subject[len(self.inbox) + 1 :])
        if take is not None:  # else it comes too late for anybody
            take(block, payload)
