"""Clients that other people wrote: npm `eventsource` and PyPI `httpx-sse`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import httpx_sse

import holdfast
from tests.integration.gateway.programs import Nats, Program, free_port, running, serving, spawn, until

HERE = Path(__file__).parent
WRITTEN = [f"token {i} with ünïcode\nand a second line " for i in range(120)]


async def test_npm_eventsource_resumes_over_a_killed_gateway(nats: Nats, tmp_path: Path, node: str) -> None:
    port = free_port()
    arguments = serving(nats.url, port=port)
    url = f"http://localhost:{port}/v1/sessions/chat-42/events?wait=20"
    async with holdfast.connect(nats.url) as hf, running(*arguments, cwd=tmp_path) as first:
        reader = await asyncio.create_subprocess_exec(
            node, str(HERE / "node" / "read.mjs"), url, stdout=asyncio.subprocess.PIPE
        )
        lines: list[dict[str, str]] = []

        async def collect() -> None:
            assert reader.stdout is not None
            async for line in reader.stdout:
                lines.append(json.loads(line))

        try:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(collect())
                async with hf.session("chat-42") as session:
                    for place, text in enumerate(WRITTEN):
                        session.write(text)
                        await asyncio.sleep(0.01)
                        if place == 40:
                            await until(lambda: len(lines) > 5)
                            await first.kill()
                        if place == 80:
                            second = await group.create_task(_again(arguments, tmp_path))
            assert await reader.wait() == 0
        finally:
            if reader.returncode is None:
                reader.kill()
                await reader.wait()
        await second.stop()
    assert [line["data"] for line in lines if line["event"] == "message"] == WRITTEN
    assert [line["event"] for line in lines if line["event"] != "message"] == ["session.start", "session.end", "closed"]
    assert int(lines[-1]["data"]) >= 2  # it was connected twice


async def _again(arguments: list[str], cwd: Path) -> Program:
    program = await spawn(arguments, cwd=cwd)
    await program.up()
    return program


async def test_httpx_sse_reads_and_resumes_from_any_event(nats: Nats, tmp_path: Path) -> None:
    async with running(*serving(nats.url), cwd=tmp_path) as gateway, holdfast.connect(nats.url) as hf:
        async with hf.session("chat-42") as session:
            for text in WRITTEN:
                session.write(text)
        url = f"{gateway.url}/v1/sessions/chat-42/events"
        seen: list[httpx_sse.ServerSentEvent] = []
        async with httpx.AsyncClient() as client:
            while not seen or seen[-1].event != "session.end":
                headers = {"Last-Event-ID": seen[-1].id} if seen else {}
                async with httpx_sse.aconnect_sse(client, "GET", url, headers=headers) as source:
                    source.response.raise_for_status()
                    taken = 0
                    async for event in source.aiter_sse():
                        if event.data:
                            seen.append(event)
                            taken += 1
                        if taken == 25:
                            break
            done = await client.get(url, headers={"Last-Event-ID": seen[-1].id})
    assert done.status_code == 204
    assert [event.data for event in seen if event.event == "message"] == WRITTEN
    assert len({event.id for event in seen}) == len(seen)
