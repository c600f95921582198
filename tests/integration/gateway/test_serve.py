"""`serve` as people run it: whole processes, real sockets, real broker."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from pathlib import Path

import httpx
import pytest

import holdfast
from tests.integration.gateway.programs import (
    Nats,
    alive,
    answers,
    children_of,
    free_port,
    get_json,
    nats_server,
    running,
    serving,
    spawn,
    status_of,
    until,
)
from tests.integration.gateway.viewing import Viewer


async def test_what_the_sdk_writes_a_viewer_reads(nats: Nats, tmp_path: Path) -> None:
    async with running(*serving(nats.url), cwd=tmp_path) as gateway, holdfast.connect(nats.url) as hf:
        viewer = Viewer(f"{gateway.url}/v1/sessions/chat-42/events?wait=20")
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(viewer.watch())
            async with hf.session("chat-42") as session:
                session.write("Hello ")
                session.write("wörld\nsecond line")
                session.write({"answer": 42}, "json")
        assert viewer.texts == ["Hello ", "wörld\nsecond line", '{"answer":42}']
        assert [told.event for told in viewer.seen] == ["session.start", "message", "message", "json", "session.end"]
        again = Viewer(f"{gateway.url}/v1/sessions/chat-42/events", last_id=viewer.last_id)
        assert await again.connect() == 204


async def test_a_gateway_killed_and_started_again_resumes_its_viewers_exactly(nats: Nats, tmp_path: Path) -> None:
    port = free_port()
    arguments = serving(nats.url, port=port)
    written = [f"{i} " for i in range(150)]
    viewers = [Viewer(f"http://127.0.0.1:{port}/v1/sessions/chat-42/events?wait=20") for _ in range(5)]
    async with asyncio.timeout(60), holdfast.connect(nats.url) as hf, asyncio.TaskGroup() as group:
        async with running(*arguments, cwd=tmp_path) as first:
            for viewer in viewers:
                group.create_task(viewer.watch())
            async with hf.session("chat-42") as session:
                for text in written[:50]:
                    session.write(text)
                    await asyncio.sleep(0.01)
                await until(lambda: all(viewer.texts for viewer in viewers))
                await first.kill()
                for text in written[50:100]:
                    session.write(text)
                    await asyncio.sleep(0.01)
                async with running(*arguments, cwd=tmp_path):
                    for text in written[100:]:
                        session.write(text)
                        await asyncio.sleep(0.01)
                    await session.end()
                    await until(lambda: all(viewer.done for viewer in viewers))
    for viewer in viewers:
        assert viewer.texts == written
        assert viewer.connections >= 2
        assert not viewer.named("session.gap")


async def test_sigterm_sends_viewers_away_before_the_end_and_exits_with_zero(nats: Nats, tmp_path: Path) -> None:
    """uvicorn's own order would wait for the streams to end, which they never do."""
    async with running(*serving(nats.url), cwd=tmp_path) as gateway, holdfast.connect(nats.url) as hf:
        async with hf.session("chat-42") as session:
            session.write("Hel")
            viewer = Viewer(f"{gateway.url}/v1/sessions/chat-42/events?wait=20")
            watching = asyncio.create_task(viewer.connect())
            await until(lambda: viewer.texts)
            assert await gateway.stop(signal.SIGTERM, seconds=4) == 0
            assert await watching == 200  # an end of the response, no cut: the chunks were complete
            assert not viewer.done
    assert "Traceback" not in gateway.text


async def test_a_broker_that_is_down_is_named_and_given_up_on(tmp_path: Path) -> None:
    nowhere = f"nats://127.0.0.1:{free_port()}"
    for command in ("serve", "provision"):
        program = await spawn([command, "--nats", nowhere, "--connect", "1s"], cwd=tmp_path)
        assert await program.wait(15) == 69
        assert nowhere in program.text
        assert "Traceback" not in program.text


async def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    async with nats_server(tmp_path / "nats", port=port):
        pass  # provisioned, and down again
    program = await spawn(serving(f"nats://127.0.0.1:{port}", "--connect", "20s"), cwd=tmp_path)
    await asyncio.sleep(1)
    assert program.process.returncode is None
    async with nats_server(tmp_path / "nats", port=port, partitions=0):
        await program.up()
        assert await program.stop() == 0


async def test_streams_that_are_missing_or_different_are_refused_with_the_way_out(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", partitions=0) as nats:
        program = await spawn(serving(nats.url), cwd=tmp_path)
        assert await program.wait(15) == 78
        assert "holdfast-gateway provision" in program.text
        first = await spawn(["provision", "--nats", nats.url, "--replicas", "1", "--partitions", "2"], cwd=tmp_path)
        assert await first.wait(15) == 0
        again = await spawn(["provision", "--nats", nats.url, "--replicas", "1", "--partitions", "2"], cwd=tmp_path)
        assert await again.wait(15) == 0
        assert again.text.count("verified") == 2
        other = await spawn(["provision", "--nats", nats.url, "--replicas", "1", "--partitions", "3"], cwd=tmp_path)
        assert await other.wait(15) == 78
        assert "holdfast_partitions: is '2', has to be '3'" in other.text


async def test_a_broker_that_goes_away_makes_the_gateway_unready_and_its_return_ready(tmp_path: Path) -> None:
    port = free_port()
    async with nats_server(tmp_path / "nats", port=port) as nats:
        async with holdfast.connect(nats.url) as hf, hf.session("chat-42") as session:
            session.write("Hello")
        gateway = await spawn(serving(nats.url, "--broker-wait", "500ms"), cwd=tmp_path)
        await gateway.up()
        url = gateway.url
        assert await status_of(f"{url}/readyz") == 200
    await until(lambda: answers(f"{url}/readyz", 503))
    assert await status_of(f"{url}/healthz") == 200
    assert await status_of(f"{url}/v1/sessions/chat-42") == 503
    assert await status_of(f"{url}/v1/sessions/chat-42/events") == 200  # told to come back
    async with nats_server(tmp_path / "nats", port=port, partitions=0):
        await until(lambda: answers(f"{url}/readyz", 200))
        await until(lambda: answers(f"{url}/v1/sessions/chat-42", 200))
        assert await gateway.stop() == 0
    assert "Traceback" not in gateway.text


async def test_a_busy_port_is_said_with_the_way_out(nats: Nats, tmp_path: Path) -> None:
    async with running(*serving(nats.url), cwd=tmp_path) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        for more in ((), ("--workers", "2")):
            second = await spawn(serving(nats.url, *more, port=port), cwd=tmp_path)
            assert await second.wait(15) == 71
            assert f"port {port} on 127.0.0.1 is in use. Choose another with --port {port + 1}" in second.text
            assert "Traceback" not in second.text
        admin = await spawn(
            [*serving(nats.url)[:5], "--admin-port", str(port), "--admin-host", "127.0.0.1"], cwd=tmp_path
        )
        assert await admin.wait(15) == 71
        assert f"Choose another with --admin-port {port + 1}" in admin.text
        assert "Traceback" not in admin.text


async def test_settings_that_cannot_be_used_end_it_at_once(tmp_path: Path) -> None:
    program = await spawn(["serve", "--port", "http"], cwd=tmp_path, env={"HOLDFAST_WAIT": "soon"})
    assert await program.wait(10) == 2
    assert "--port: 'http' is not a whole number" in program.text
    assert "HOLDFAST_WAIT: 'soon' is not a duration" in program.text


async def test_metrics_are_on_the_admin_port_alone(nats: Nats, tmp_path: Path) -> None:
    admin = free_port()
    arguments = ["serve", "--nats", nats.url, "--port", "0", "--admin-port", str(admin), "--drain", "0"]
    async with running(*arguments, cwd=tmp_path) as gateway:
        await status_of(f"{gateway.url}/v1/sessions/nobody")
        text = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics").read().decode()
        )
        assert 'holdfast_problems_total{problem="unknown-session"} 1' in text
        assert "holdfast_ready 1" in text
        assert await status_of(f"http://127.0.0.1:{admin}/healthz") == 200
        assert await status_of(f"http://127.0.0.1:{admin}/readyz") == 200
        assert await status_of(f"{gateway.url}/metrics") == 404


@pytest.mark.parametrize("handover", ["auto", "off"])
async def test_the_heads_of_both_ways_out(nats: Nats, tmp_path: Path, handover: str) -> None:
    arguments = serving(nats.url, "--handover", handover, "--cors-origins", "https://app.example")
    async with running(*arguments, cwd=tmp_path) as gateway:
        async with holdfast.connect(nats.url) as hf, hf.session("chat-42") as session:
            session.write("Hello")
        async with httpx.AsyncClient() as client:
            answer = await client.get(
                f"{gateway.url}/v1/sessions/chat-42/events", headers={"Origin": "https://app.example"}
            )
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "server" not in answer.headers
    assert answer.text.startswith("retry: ")


async def test_workers_share_the_port_and_a_dead_one_is_replaced(nats: Nats, tmp_path: Path) -> None:
    async with holdfast.connect(nats.url) as hf, hf.session("chat-42") as session:
        session.write("Hello")
        async with running(*serving(nats.url, "--workers", "2"), cwd=tmp_path) as gateway:
            before = set(children_of(gateway.process.pid))
            assert len(before) == 2
            victim = min(before)
            os.kill(victim, signal.SIGKILL)
            await until(lambda: len(set(children_of(gateway.process.pid)) - {victim}) == 2)
            workers = set(children_of(gateway.process.pid)) - {victim}
            # Every connection finds a worker: the dead one's socket is gone from the port.
            assert {await status_of(f"{gateway.url}/v1/sessions/chat-42") for _ in range(20)} == {200}
            assert await gateway.stop(seconds=8) == 0
            assert not [pid for pid in workers if alive(pid)]
    assert f"ended with code {-signal.SIGKILL}" in gateway.text


async def test_workers_do_not_outlive_their_supervisor(nats: Nats, tmp_path: Path) -> None:
    async with running(*serving(nats.url, "--workers", "2"), cwd=tmp_path) as gateway:
        workers = set(children_of(gateway.process.pid))
        assert len(workers) == 2
        await gateway.kill()
        await until(lambda: not any(alive(pid) for pid in workers), 10)


async def test_workers_give_up_together_where_starting_again_is_of_no_use(tmp_path: Path) -> None:
    async with nats_server(tmp_path / "nats", partitions=0) as nats:
        program = await spawn(serving(nats.url, "--workers", "2"), cwd=tmp_path)
        assert await program.wait(20) == 78
        assert not children_of(program.process.pid)


async def test_openapi_is_served_as_it_is_documented(nats: Nats, tmp_path: Path) -> None:
    async with running(*serving(nats.url), cwd=tmp_path) as gateway:
        schema = await asyncio.to_thread(get_json, f"{gateway.url}/openapi.json")
        assert schema["openapi"].startswith("3.")
        assert await status_of(f"{gateway.url}/docs") == 200


async def test_a_stop_over_http_reaches_a_model_that_thinks_at_once(nats: Nats, tmp_path: Path) -> None:
    """A silent writer renews its lease every ten seconds; a stop must not wait for that. What was said stays."""
    async with running(*serving(nats.url), cwd=tmp_path) as gateway, holdfast.connect(nats.url) as hf:
        viewer = Viewer(f"{gateway.url}/v1/sessions/chat-42/events?wait=20")
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(viewer.watch())
            async with hf.session("chat-42") as session:
                session.write("Let me think")
                await session.drain()
                await until(lambda: viewer.texts)
                assert await status_of(f"{gateway.url}/v1/sessions/chat-42/cancel", "POST") == 200
                async with asyncio.timeout(2):
                    await session.cancelled.wait()
        assert viewer.texts == ["Let me think"]
        assert [told.event for told in viewer.seen][-1] == "session.cancelled"
