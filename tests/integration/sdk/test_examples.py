"""Every file of `examples/` is run: real processes, a real broker, a real gateway where one is read from."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import holdfast
from holdfast.testing.cluster import free_ports

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent


@asynccontextmanager
async def process(*command: str, port: int, **env: str) -> AsyncIterator[str]:
    """A server in a child; its URL once it answers. It is killed: none of these has anything to save."""
    child = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(20):
            while True:
                assert child.returncode is None, (await child.communicate())[0].decode()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        if child.returncode is None:
            child.kill()
        async with asyncio.timeout(20):
            await child.communicate()


class Model:
    """An OpenAI-compatible endpoint on a real socket. Its answers echo the prompt, word by word."""

    def __init__(self) -> None:
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; `gone` waits for its end."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        with contextlib.suppress(ConnectionError):
            await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def gone(self) -> None:
        """Wait until nobody is served any more."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=10)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        self.request = json.loads(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        words = self.request["messages"][-1]["content"].split(" ")
        for i, word in enumerate(words):
            delta = {"id": "c", "choices": [{"index": 0, "delta": {"content": word if i == 0 else f" {word}"}}]}
            writer.write(f"data: {json.dumps(delta)}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(0.01)
        finish = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        writer.write(f"data: {json.dumps(finish)}\n\ndata: [DONE]\n\n".encode())
        await writer.drain()


async def text_of(hf: holdfast.Holdfast, sid: str) -> tuple[str, str]:
    """The answer's text and the run's last event."""
    events = [e async for e in hf.read(sid)]
    return "".join(e.text for e in events if e.type == "message"), events[-1].type


async def test_fastapi_with_an_openai_compatible_model(url: str, hf: holdfast.Holdfast, sid: str) -> None:
    model = Model()
    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    (port,) = free_ports(1)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    command = (sys.executable, "-m", "uvicorn", "examples.fastapi_openai:app", "--port", str(port))
    async with (
        server,
        process(*command, port=port, HOLDFAST_NATS_URL=url, OPENAI_BASE_URL=base, OPENAI_MODEL="m") as app,
        httpx.AsyncClient(base_url=app, timeout=10) as http,
    ):
        answered = await http.post(f"/chats/{sid}", json={"prompt": "Once upon a time"})
        assert (answered.status_code, answered.json()["events"]) == (202, f"/v1/sessions/{sid}/events")
        assert await text_of(hf, sid) == ("Once upon a time", "session.end")
        assert (model.request["model"], model.request["stream"]) == ("m", True)

        await http.post(f"/chats/{sid}-long", json={"prompt": "word " * 5000})
        async for event in hf.read(f"{sid}-long"):
            if event.type == "message":
                break
        assert (await http.post(f"/chats/{sid}-long/stop")).json() == {"outcome": "cancelled"}
        assert (await text_of(hf, f"{sid}-long"))[1] == "session.cancelled"
    await model.gone()


async def test_django_in_its_threads(url: str, hf: holdfast.Holdfast, sid: str) -> None:
    (port,) = free_ports(1)
    command = (sys.executable, "examples/django_view.py", "runserver", str(port), "--noreload")
    async with process(*command, port=port, HOLDFAST_NATS_URL=url) as app, httpx.AsyncClient(base_url=app) as http:
        answered = await http.post(f"/chats/{sid}", data={"prompt": "hello there"})
        assert answered.status_code == 202
        assert await text_of(hf, sid) == ("You said: hello there ", "session.end")
        assert (await http.post(f"/chats/{sid}/stop")).json() == {"outcome": "not_open"}


@pytest.fixture
def path_with_nats(tmp_path: Path) -> str:
    """A PATH that has `nats`: the real one, or a stand-in that publishes to the real broker as `nats pub` does."""
    if shutil.which("nats") is None:
        tool = tmp_path / "nats"
        tool.write_text(
            f"#!{sys.executable}\n"
            "import argparse, asyncio, nats\n"
            "p = argparse.ArgumentParser()\n"
            "p.add_argument('--server'); p.add_argument('pub'); p.add_argument('-q', action='store_true')\n"
            "p.add_argument('-H', action='append', default=[]); p.add_argument('--no-templates', action='store_true')\n"
            "p.add_argument('subject'); p.add_argument('body')\n"
            "a = p.parse_intermixed_args()\n"
            "async def main():\n"
            "    nc = await nats.connect(a.server)\n"
            "    headers = dict(h.split(':', 1) for h in a.H) or None\n"
            "    await nc.publish(a.subject, a.body.encode(), headers=headers)\n"
            "    await nc.close()\n"
            "asyncio.run(main())\n"
        )
        tool.chmod(0o755)
    return f"{tmp_path}:{BIN}:{os.environ['PATH']}"


async def run(*command: str, **env: str) -> tuple[int | None, str, str]:
    child = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        out, err = await child.communicate()
    return child.returncode, out.decode(), err.decode()


async def test_nats_pub(url: str, hf: holdfast.Holdfast, sid: str, path_with_nats: str) -> None:
    """A producer without an SDK opens a run, and its end ends it."""
    script = str(EXAMPLES / "nats_pub.sh")
    assert await run(script, sid, "Hello", " you", HOLDFAST_NATS_URL=url, PATH=path_with_nats) == (0, "", "")
    assert await text_of(hf, sid) == ("Hello you", "session.end")


async def test_curl_viewer_resumes_over_a_gateway_restart(url: str, hf: holdfast.Holdfast, sid: str) -> None:
    """Live, cut in the middle, and exact."""
    (port,) = free_ports(1)
    gateway = (str(BIN / "holdfast-gateway"), "serve", "--port", str(port), "--admin-port", "0", "--nats", url)
    words = [f"word{i}\n" if i % 7 == 0 else f"word{i} " for i in range(60)]
    half = asyncio.Event()

    async def produce() -> None:
        async with hf.session(sid) as s:
            for i, word in enumerate(words):
                s.write(word)
                await asyncio.sleep(0.02)
                if i == 30:
                    half.set()

    async with asyncio.TaskGroup() as group:
        async with process(*gateway, port=port):
            viewing = group.create_task(
                run(str(EXAMPLES / "viewer.sh"), sid, HOLDFAST_GATEWAY_URL=f"http://127.0.0.1:{port}")
            )
            group.create_task(produce())
            await half.wait()
        async with process(*gateway, port=port):
            status, out, err = await viewing
    assert (status, out, err) == (0, "".join(words), "")


def test_every_example_is_listed_and_run() -> None:
    files = {f.name for f in EXAMPLES.iterdir() if f.suffix in (".py", ".sh")}
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    here = Path(__file__).read_text("utf-8")
    for name in files:
        assert f"`{name}`" in listed
        assert name.removesuffix(".py") in here
