"""`docs/from-resumable-sse.md`: its code runs, over HTTP, as the page says. (Redis: `tests/redis`.)"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.contract.documented import DOCS, HELLO, blocks, events, served, shown

PAGE = blocks("from-resumable-sse.md")


def test_all_of_the_page_s_code_is_run() -> None:
    assert set(PAGE) == {"quickstart", "response", "redis", "nats", "chunks", "storage"}
    assert len(re.findall(r"```python", (DOCS / "from-resumable-sse.md").read_text())) == len(PAGE)


async def test_quickstart(tmp_path: Path) -> None:
    """Two viewers at once, then a refresh, then the end: all of them get everything, the model runs once."""
    async with served(PAGE["quickstart"], tmp_path) as client:
        one, two = await asyncio.gather(events(client, "a"), events(client, "a"))
        again = await events(client, "a")
        assert shown(one) == [*HELLO[:2], ("message", "[END]"), *HELLO[2:]]
        assert one == two == again
        assert shown(await events(client, "b")) == shown(one)


async def test_a_browser_resumes_and_stops_reconnecting(tmp_path: Path) -> None:
    """From every id what follows it; 204 behind the closing event, which alone makes an EventSource stop."""
    async with served(PAGE["response"], tmp_path) as client:
        got = await events(client, "a")
        assert shown(got) == HELLO
        for i, event in enumerate(got):
            assert await events(client, "a", event.id) == got[i + 1 :]
        response = await client.get("/stream", params={"session_id": "a"}, headers={"Last-Event-ID": got[-1].id})
        assert response.status_code == 204
        by_query = await client.get("/stream", params={"session_id": "a", "last_event_id": got[-1].id})
        assert by_query.status_code == 204
        gap, *rest = await events(client, "a", "1699999999999-0")
        assert gap.event == "gap"
        assert rest == got


async def test_a_dropped_connection_resumes_in_the_middle_of_the_answer(tmp_path: Path) -> None:
    async with served(PAGE["response"], tmp_path) as client:
        got = []
        async with client.stream("GET", "/stream", params={"session_id": "a"}) as response:
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["x-accel-buffering"] == "no"
            lines = response.aiter_lines()
            while not (got and got[-1].startswith("data:")):
                got.append(await anext(lines))
            await lines.aclose()
        (last_id,) = [line.removeprefix("id: ") for line in got if line.startswith("id:")]
        assert shown(await events(client, "a", last_id)) == HELLO[1:]


async def test_nats(tmp_path: Path, provisioned: str) -> None:
    """Two processes of the application on one log: any serves any session."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with (
        served(PAGE["nats"], folders[0], HOLDFAST_NATS_URL=provisioned) as one,
        served(PAGE["nats"], folders[1], HOLDFAST_NATS_URL=provisioned) as two,
    ):
        first, second = await asyncio.gather(events(one, "a"), events(two, "a"))
        assert shown(first) == HELLO
        assert first == second
        assert await events(two, "a", first[1].id) == first[2:]
        assert await events(one, "a", first[-1].id) == []


async def test_sync_generators_dicts_and_names(tmp_path: Path) -> None:
    async with served(PAGE["chunks"], tmp_path) as client:
        assert shown(await events(client, "a")) == [
            ("message", "text"),
            ("message", '{"as":"JSON"}'),
            ("usage", '{"tokens":3}'),
            ("end", ""),
        ]


async def test_a_storage_of_one_s_own(tmp_path: Path) -> None:
    async with served(PAGE["storage"], tmp_path) as client:
        for _ in range(2):
            assert shown(await events(client, "a")) == [*HELLO[:2], ("end", "")]
