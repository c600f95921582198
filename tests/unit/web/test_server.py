"""uvicorn as we leave it: unpatched, and in order at the end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import uvicorn

from holdfast_gateway.server import GatewayServer, config_for
from holdfast_gateway.settings import Settings


def test_nothing_of_sse_starlettes_signal_patch_is_left() -> None:
    """In a fresh process: after everything of ours is imported, uvicorn is as it was, and so is the watcher."""
    program = (
        "import uvicorn; before = uvicorn.Server.handle_exit\n"
        "import holdfast_gateway.compose, sse_starlette.sse as s\n"
        "assert s.AppStatus.original_handler is not None, 'sse-starlette no longer patches: drop the undoing'\n"
        "assert uvicorn.Server.handle_exit is before, uvicorn.Server.handle_exit\n"
        "assert not s.AppStatus.enable_automatic_graceful_drain\n"
        "print('unpatched')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "unpatched", done.stderr


async def _app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    raise AssertionError("nobody asks")


def server(drain, grace: float = 5.0) -> GatewayServer:  # type: ignore[no-untyped-def]
    made = GatewayServer(config_for(_app, Settings()), drain=drain, drain_grace_seconds=grace)
    made.servers = []
    made.config.load()
    made.lifespan = made.config.lifespan_class(made.config)
    return made


async def test_viewers_are_drained_before_uvicorn_closes_anything(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    order: list[str] = []

    async def drain() -> None:
        order.append("drained")

    async def shutdown(self: uvicorn.Server, sockets: object = None) -> None:
        order.append("uvicorn")

    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    await server(drain).shutdown()
    assert order == ["drained", "uvicorn"]


async def test_a_second_ctrl_c_ends_the_drain(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    started = asyncio.Event()
    ended: list[str] = []

    async def drain() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def shutdown(self: uvicorn.Server, sockets: object = None) -> None:
        ended.append("uvicorn")

    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    made = server(drain, grace=60)
    made.handle_exit(signal.SIGINT, None)
    assert made.should_exit
    stopping = asyncio.ensure_future(made.shutdown())
    await started.wait()
    made.handle_exit(signal.SIGINT, None)
    async with asyncio.timeout(1):
        await stopping
    assert ended == ["cancelled", "uvicorn"]
    assert made.force_exit


async def test_a_drain_that_takes_too_long_or_fails_does_not_keep_it(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    async def forever() -> None:
        await asyncio.Event().wait()

    async def broken() -> None:
        raise RuntimeError("a fault of ours")

    reached: list[str] = []

    async def shutdown(self: uvicorn.Server, sockets: object = None) -> None:
        reached.append("uvicorn")

    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    await server(forever, grace=0.01).shutdown()
    await server(broken).shutdown()
    assert reached == ["uvicorn", "uvicorn"]
