"""The command line as people use it: real processes, pipes and signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main

COMMAND = [sys.executable, "-m", "holdfast.cli"]


class Process:
    """A child with pipes."""

    def __init__(self, *args: str, **env: str) -> None:
        self.args, self.env = args, {**os.environ, **env}

    async def __aenter__(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self.child = await asyncio.create_subprocess_exec(
            *COMMAND, *self.args, stdin=pipe, stdout=pipe, stderr=pipe, env=self.env, start_new_session=True
        )
        return self.child

    async def __aexit__(self, *_: object) -> None:
        if self.child.returncode is None:
            self.child.kill()
        await self.child.communicate()


async def run(capfd: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """A command without input, in a thread of this process: a process costs half a second."""
    capfd.readouterr()
    async with asyncio.timeout(20):
        status = await asyncio.to_thread(main, args)
    return (status, *capfd.readouterr())


async def test_publish_then_tail(capfd: pytest.CaptureFixture[str], url: str, hf: holdfast.Holdfast, sid: str) -> None:
    text = "Grüße 🦉\n" * 5000
    async with Process("publish", sid, "--nats", url) as child:
        assert await child.communicate(text.encode()) == (b"", b"")
        assert child.returncode == 0
    assert await run(capfd, "tail", sid, "--nats", url) == (0, text + "\n", "")
    data = [e.data async for e in hf.read(sid) if not e.control]
    assert b"".join(data).decode() == text
    for chunk in data:
        chunk.decode()  # no event ends inside a character


async def test_publish_sends_a_character_when_it_is_whole(url: str, hf: holdfast.Holdfast, sid: str) -> None:
    async with Process("publish", sid, "--nats", url) as child:
        assert child.stdin is not None
        child.stdin.write(b">")
        texts = []
        async for event in hf.read(sid):
            if not event.control:
                texts.append(event.text)
            if event.text == ">":
                for byte in "é🦉".encode():
                    child.stdin.write(bytes([byte]))
                    await asyncio.sleep(0.05)
                child.stdin.close()
    assert texts == [">", "é", "🦉"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
async def test_an_interrupted_publish_is_told(
    url: str, hf: holdfast.Holdfast, sid: str, number: signal.Signals, status: int
) -> None:
    async with Process("publish", sid, "--nats", url) as child:
        assert child.stdin is not None
        child.stdin.write(b"half")
        async for event in hf.read(sid):
            if event.text == "half":
                child.send_signal(number)
            tail = event
        async with asyncio.timeout(5):
            assert await child.wait() == status
        assert child.stderr is not None
        assert b"Traceback" not in await child.stderr.read()
    assert (tail.type, tail.json()["reason"]) == ("session.failed", "producer_stopped")


async def test_tail_ends_with_the_run_and_says_how(
    capfd: pytest.CaptureFixture[str], url: str, hf: holdfast.Holdfast, sid: str
) -> None:
    async with hf.session(sid) as s:
        s.write("half")
        await s.fail("overloaded", "try later")
    status, out, err = await run(capfd, "tail", sid, "--nats", url)
    assert (status, out) == (1, "half")
    assert "failed" in err
    assert "overloaded" in err


async def test_tail_as_json_from_a_cursor(
    capfd: pytest.CaptureFixture[str], url: str, hf: holdfast.Holdfast, sid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_NATS_URL", url)
    await hf.pipe(sid, ["a", "b"])
    ids = [e.id async for e in hf.read(sid)]
    status, out, _ = await run(capfd, "tail", sid, "--json", "--from", str(ids[1]))
    assert status == 0
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["message", "session.end"]


async def test_tail_follow_goes_on_into_the_next_run(url: str, hf: holdfast.Holdfast, sid: str) -> None:
    await hf.pipe(sid, ["one"])
    async with Process("tail", sid, "-f", "--nats", url) as child:
        assert child.stdout is not None
        async with asyncio.timeout(10):
            assert await child.stdout.readexactly(4) == b"one\n"
            await hf.pipe(sid, ["two"])
            assert await child.stdout.readexactly(4) == b"two\n"


async def test_cancel_stops_a_publish(
    capfd: pytest.CaptureFixture[str], url: str, hf: holdfast.Holdfast, sid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Process("publish", sid, "--nats", url) as child:
        assert child.stdin is not None
        child.stdin.write(b"half")
        async for event in hf.read(sid):
            if event.text == "half":
                assert await run(capfd, "cancel", sid, "--nats", url, "--reason", "enough") == (0, "cancelled\n", "")
        async with asyncio.timeout(5):
            assert await child.wait() == 1
    assert (await run(capfd, "cancel", sid, "--nats", url))[0] == 1
    monkeypatch.setenv("HOLDFAST_NATS", url)
    assert await run(capfd, "cancel", sid, "--run", "next") == (
        0, "that run has not started; it will be cancelled when it does\n", "",
    )  # fmt: skip


async def test_a_broker_that_is_down_is_said_with_the_url(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = await run(capfd, "tail", "x", "--nats", "127.0.0.1:1", "--timeout", "1")
    assert (status, out) == (1, "")
    assert "nats://127.0.0.1:1" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


async def test_bad_input_is_one_line(capfd: pytest.CaptureFixture[str], url: str) -> None:
    for args in (["tail", "no spaces please"], ["tail", "x", "--from", "nonsense"], ["tail", "x", "--wait", "0.1"]):
        status, _, err = await run(capfd, *args, "--nats", url)
        assert (status, len(err.splitlines())) == (1, 1)
        assert err.startswith("holdfast: ")


async def test_a_reader_that_leaves_is_no_failure(url: str, tmp_path: Path, sid: str) -> None:
    """`holdfast tail x | head -c 3`."""
    (tmp_path / "big").write_bytes(b"0123456789" * 50_000)
    program = " ".join(COMMAND)
    script = f"{program} publish {sid} --nats {url} < big; {program} tail {sid} --nats {url} | head -c 3"
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(20):
        assert await shell.communicate() == (b"012", b"")
