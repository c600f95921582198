"""Heartbeat hints of SDK processes on core NATS. They make a dead producer show sooner, and are never evidence.

One wildcard subscription: an SDK process hints every 2 s, so 200 of them are 100 small messages a second, far below
what a subscription per session and writer would cost the cluster. Anyone may forge one; it only costs a check.
"""

from __future__ import annotations

import asyncio

from holdfast.wire import Namespace
from holdfast_gateway.broker.jetstream.link import Link

MAX_PROCESSES = 10_000
"""Processes remembered; past it the longest silent ones are forgotten."""


class Hints:
    """When each SDK process was last heard, by this loop's clock."""

    def __init__(self, prefix: str) -> None:
        self._subject = Namespace(1, prefix).writer_hint("*")
        self._cut = len(self._subject) - 1
        self._heard: dict[str, float] = {}

    def listen(self, link: Link) -> None:
        link.subscribe(self._subject, self.on_hint)

    def on_hint(self, subject: bytes, block: bytes | None, body: bytes) -> None:
        token = subject[self._cut :].decode("utf-8", "replace")
        self._heard.pop(token, None)  # the newest at the end
        self._heard[token] = asyncio.get_running_loop().time()
        if len(self._heard) > MAX_PROCESSES:
            del self._heard[next(iter(self._heard))]

    def silent_seconds(self, writer: str, now: float) -> float | None:
        """Writer ids are `<token>-<n>`: one token per process."""
        heard = self._heard.get(writer.partition("-")[0])
        return None if heard is None else now - heard

    def forget(self) -> None:
        """Our own connection is gone: what we do not hear now says nothing about them."""
        self._heard.clear()
