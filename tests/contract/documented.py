"""The code of a page of `docs/`, run as it stands there: an application under a uvicorn of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from httpx_sse import aconnect_sse

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"<!-- run: (\w+) -->\n```python\n(.*?)```", re.S)


class Seen(NamedTuple):
    """An event as a browser has it."""

    event: str
    data: str
    id: str


def blocks(page: str) -> dict[str, str]:
    """The runnable code blocks of a page, by name."""
    return dict(_BLOCK.findall((DOCS / page).read_text()))


@asynccontextmanager
async def served(code: str, folder: Path, **environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a block's `app` by uvicorn in a process of its own; ends it by SIGTERM, which it must obey in 10 s."""
    (folder / "documented_app.py").write_text(code)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "documented_app:app", "--port", "0", "--no-access-log"),
        cwd=folder,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    log = b""
    while (found := re.search(rb"running on (http://[0-9.:]+)", log)) is None:
        line = await process.stderr.readline()
        assert line, log.decode()
        log += line
    rest = asyncio.create_task(process.stderr.read())
    try:
        async with httpx.AsyncClient(base_url=found[1].decode(), timeout=20) as client:
            yield client
    finally:
        process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        log += await rest
    assert b"Traceback" not in log, log.decode()


async def events(client: httpx.AsyncClient, session_id: str, last_id: str | None = None) -> list[Seen]:
    """What a browser gets: the events up to the end of the response; none at all for 204."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with aconnect_sse(client, "GET", "/stream", params={"session_id": session_id}, headers=headers) as source:
        if source.response.status_code == 204:
            return []
        assert source.response.status_code == 200
        return [Seen(e.event, e.data, e.id) async for e in source.aiter_sse()]


def shown(got: list[Seen]) -> list[tuple[str, str]]:
    return [(e.event, e.data) for e in got]


HELLO = [("message", "Hello,"), ("message", "I'm an AI."), ("message", "Nice to meet you."), ("end", "")]
