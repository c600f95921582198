"""The streamer's backends that need nothing installed: memory, and nats on the embedded server.

Redis runs the same suite in `tests/redis` (`make test-redis`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import holdfast
from holdfast.serving import MemoryStore, StoreStreamer
from holdfast.serving.nats_store import NatsStore
from tests.contract.streamer_contract import Make, StreamerContract


class TestMemory(StreamerContract):
    """One process, so all calls share the store."""

    @pytest.fixture
    async def make(self) -> AsyncIterator[Make]:
        store = MemoryStore()
        made: list[StoreStreamer] = []

        async def make(**options: Any) -> StoreStreamer:
            made.append(StoreStreamer(store, **options))
            return made[-1]

        yield make
        for streamer in made:
            await streamer.aclose()
        await store.aclose()


class TestNats(StreamerContract):
    """A real nats-server; each streamer has a connection of its own, as another process would."""

    @pytest.fixture
    async def make(self, provisioned: str) -> AsyncIterator[Make]:
        async with AsyncExitStack() as stack:

            async def make(**options: Any) -> StoreStreamer:
                client = await stack.enter_async_context(holdfast.connect(provisioned, handle_sigterm=False))
                streamer = StoreStreamer(NatsStore(client), owns_store=True, **options)
                stack.push_async_callback(streamer.aclose)
                return streamer

            yield make
