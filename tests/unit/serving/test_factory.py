"""The factory, the names people import, and what importing them needs."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.base import BaseSSEStreamer
from holdfast.factory import get_streamer
from holdfast.memory import MemorySSEStreamer
from holdfast.nats_stream import NatsSSEStreamer


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("factory", ["get_streamer"]),
        (
            "base",
            ["BaseSSEStreamer", "Content", "ContentStream", "SyncContentStream", "AsyncContentStream"],
        ),
        ("base", ["iterate_in_threadpool"]),
        ("memory", ["MemorySSEStreamer"]),
        ("redis_stream", ["RedisSSEStreamer"]),
    ],
)
def test_every_public_import_of_resumable_sse_has_its_counterpart(module: str, names: list[str]) -> None:
    """Of version 0.1.0, the only one there is."""
    found = importlib.import_module(f"holdfast.{module}")
    for name in names:
        assert hasattr(found, name)
        assert name in found.__all__


def test_the_arguments_are_the_documented_ones() -> None:
    parameters = inspect.signature(get_streamer).parameters
    assert list(parameters)[:5] == ["backend", "redis_client", "stream_prefix", "status_prefix", "end_marker"]
    assert [p.default for p in parameters.values()][1:5] == [None, "stream:chat", "status:chat", "[END]"]
    stream = inspect.signature(BaseSSEStreamer.stream).parameters
    assert list(stream) == ["self", "session_id", "generator", "last_id"]
    assert stream["last_id"].default == "0"


def test_backends() -> None:
    """`nats` connects when it is first used, so it can be made anywhere."""
    assert isinstance(get_streamer("memory"), MemorySSEStreamer)
    assert isinstance(get_streamer(backend="memory", end_marker="[X]"), BaseSSEStreamer)
    assert get_streamer(backend="memory", end_marker="[X]").end_marker == "[X]"
    assert isinstance(get_streamer("nats"), NatsSSEStreamer)


async def test_the_text_of_a_failure_is_the_caller_s() -> None:
    async def fail() -> AsyncIterator[str]:
        raise ValueError("key sk-1")
        yield

    cases: list[tuple[dict[str, Any], str]] = [({}, "ValueError"), ({"error_text": lambda e: "sorry"}, "sorry")]
    for options, text in cases:
        streamer = get_streamer("memory", **options)
        (failed,) = [e async for e in streamer.stream("s", fail())]
        assert json.loads(failed["data"]) == {"reason": "producer_error", "message": text}
        await streamer.aclose()


def test_an_unknown_backend_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="'kafka'"):
        get_streamer("kafka")  # type: ignore[arg-type]


def test_redis_without_a_client_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="redis_client"):
        get_streamer("redis")


def test_the_base_install_is_enough() -> None:
    """Nothing but nats-py: `redis`, `starlette` and `sse_starlette` are imported when they are used."""
    code = """
import sys
optional = {'redis', 'starlette', 'sse_starlette', 'fastapi', 'pydantic', 'uvicorn', 'openai', 'anthropic'}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in optional:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import asyncio
from holdfast.factory import get_streamer
import holdfast.adapters, holdfast.base, holdfast.memory, holdfast.nats_stream
async def main():
    streamer = get_streamer('memory')
    async def words():
        yield 'a'
    print([e['event'] async for e in streamer.stream('s', words())])
    await streamer.aclose()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("['message', 'end']", "")
