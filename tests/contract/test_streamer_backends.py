"""The streamer's backends that need nothing installed: memory, and nats on the embedded server.

Redis runs the same suite in `tests/redis` (`make test-redis`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.serving import MemoryStore, StoreStreamer
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
