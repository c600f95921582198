"""`--workers N`: one supervisor, N gateways on one port.

Each worker is a process with a hub and a socket of its own; SO_REUSEPORT lets the kernel divide the connections. The
supervisor holds the port without listening, starts a worker that died again (a little later each time it dies
young), passes SIGTERM on, and cuts what has not drained in time. A worker ends when its supervisor does: it holds the
read end of a pipe whose write end nobody else has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast_gateway.listen import bind, url_of
from holdfast_gateway.settings import Settings

log = logging.getLogger("holdfast")

WORKER_ENV: Final = "HOLDFAST_WORKER_"
"""Set by the supervisor for its workers alone: `<index>:<port>:<fd of the pipe>`."""

GIVE_UP_CODES: Final = frozenset({2, 71, 78})
"""A worker that ends so will end so again: wrong settings, no port, an incompatible stream."""

_YOUNG_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process stands among the workers."""

    index: int
    port: int
    lifeline: int

    @classmethod
    def of(cls, environ: dict[str, str]) -> Place | None:
        """The place the supervisor gave this process; None for a process that is its own."""
        text = environ.pop(WORKER_ENV, None)
        if text is None:
            return None
        index, port, lifeline = map(int, text.split(":"))
        return cls(index, port, lifeline)


async def supervise(settings: Settings, argv: Sequence[str]) -> int:
    """Run the workers until a signal, or until one gives up. Returns the exit code.

    Raises:
        CannotListen: the port is taken.
    """
    holder = bind(settings.host, settings.port, share=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stop.set)
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    codes: list[int] = []
    try:
        port = holder.getsockname()[1]
        print(f"Holdfast gateway: {settings.workers} workers on {url_of(holder)}", flush=True)
        async with asyncio.TaskGroup() as group:
            for index in range(settings.workers):
                place = Place(index, port, read_end)
                group.create_task(_keep(place, settings, argv, stop, codes), name=f"worker-{index}")
    finally:
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sig)
        os.close(read_end)
        os.close(write_end)
        holder.close()
    return max(codes, default=0)


async def _keep(place: Place, settings: Settings, argv: Sequence[str], stop: asyncio.Event, codes: list[int]) -> None:
    """Keep one worker running until `stop`. Sets `stop` for all where starting again is of no use."""
    pause, loop = 0.1, asyncio.get_running_loop()
    while not stop.is_set():
        born = loop.time()
        code = await _once(place, settings, argv, stop)
        if stop.is_set():
            return
        if code in GIVE_UP_CODES:
            codes.append(code)
            stop.set()
            return
        pause = 0.1 if loop.time() - born > _YOUNG_SECONDS else min(pause * 2, _LONGEST_PAUSE_SECONDS)
        log.error("worker %d ended with code %d; starting another in %.1f s", place.index, code, pause)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()


async def _once(place: Place, settings: Settings, argv: Sequence[str], stop: asyncio.Event) -> int:
    environ = os.environ | {WORKER_ENV: f"{place.index}:{place.port}:{place.lifeline}"}
    # A group of its own: a terminal's Ctrl-C reaches the supervisor alone, which passes it on in order.
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "holdfast_gateway",
        *argv,
        env=environ,
        pass_fds=(place.lifeline,),
        start_new_session=True,
    )
    ended = asyncio.create_task(child.wait(), name=f"worker-{place.index}-wait")
    told = asyncio.create_task(stop.wait(), name=f"worker-{place.index}-stop")
    try:
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.drain_grace_seconds + 2.0):
                    await asyncio.shield(ended)
        return ended.result() if ended.done() else -signal.SIGKILL
    finally:
        if child.returncode is None:
            child.kill()
            await asyncio.shield(child.wait())
        told.cancel()
        ended.cancel()
        await asyncio.gather(told, ended, return_exceptions=True)


@contextlib.asynccontextmanager
async def end_with(place: Place | None) -> AsyncIterator[None]:
    """End this worker as soon as its supervisor is gone, however it went: the lifeline then reads as closed."""
    if place is None:
        yield
        return
    loop = asyncio.get_running_loop()
    os.set_blocking(place.lifeline, False)

    def gone() -> None:
        loop.remove_reader(place.lifeline)
        log.error("the supervisor is gone; stopping")
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(place.lifeline, gone)
    try:
        yield
    finally:
        loop.remove_reader(place.lifeline)
