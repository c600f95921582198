"""The Redis part of `docs/from-resumable-sse.md`, run as it stands there, in two processes of the application."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.contract.documented import HELLO, blocks, events, served, shown
from tests.redis.conftest import RedisServer


async def test_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    code, url = blocks("from-resumable-sse.md")["redis"], f"redis://127.0.0.1:{redis_server.port}"
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with served(code, folders[0], REDIS_URL=url) as one, served(code, folders[1], REDIS_URL=url) as two:
        first, second = await asyncio.gather(events(one, "documented"), events(two, "documented"))
        assert shown(first) == HELLO
        assert first == second
        assert await events(two, "documented", first[1].id) == first[2:]
        assert await events(one, "documented", first[-1].id) == []
