"""Producers that die or freeze under viewers on two gateways: one story, told everywhere, in bounded time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from tests.integration.gateway.programs import Nats, running, serving, until
from tests.integration.gateway.viewing import Told, Viewer

HINT, GRACE = 2.0, 12.0


async def produce(nats: str, session: str, cwd: Path) -> asyncio.subprocess.Process:
    """A process that writes three tokens a second, for longer than the test takes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.demo", session, "--rate", "3"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"HOLDFAST_NATS_URL": nats},
        cwd=cwd,
    )
    assert process.stdin is not None
    process.stdin.write(b"word " * 500)
    process.stdin.close()
    return process


def story(viewer: Viewer) -> list[Told]:
    """What everyone is told alike. `session.producer` has no id: its `lastEventId` is whatever came before."""
    return [told for told in viewer.seen if told.event != "session.producer"]


async def test_killed_and_frozen_producers_are_told_and_closed_once_on_two_gateways(nats: Nats, tmp_path: Path) -> None:
    """And a third, whose model only thinks, is not."""
    quick = serving(nats.url, "--hint", f"{HINT:g}s", "--grace", f"{GRACE:g}s")
    processes = {name: await produce(nats.url, name, tmp_path) for name in ("killed", "frozen", "well")}
    try:
        async with running(*quick, cwd=tmp_path) as one, running(*quick, cwd=tmp_path) as two:
            viewers = {
                name: [Viewer(f"{pod.url}/v1/sessions/{name}/events?wait=20") for pod in (one, two)]
                for name in processes
            }
            everyone = [viewer for pair in viewers.values() for viewer in pair]
            watching = [asyncio.create_task(viewer.watch()) for viewer in everyone]
            await until(lambda: all(len(viewer.texts) >= 9 for viewer in everyone))  # heartbeats have been heard

            processes["killed"].kill()
            processes["frozen"].send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            dead = [*viewers["killed"], *viewers["frozen"]]
            await until(lambda: all(viewer.named("session.producer") for viewer in dead), 10)
            told = time.monotonic() - begun
            await until(lambda: all(viewer.done for viewer in dead), GRACE + 6)
            closed = time.monotonic() - begun
            print(f"told within {told:.1f} s, closed within {closed:.1f} s")

            for name in ("killed", "frozen"):
                here, there = viewers[name]
                (failed,) = here.named("session.failed")
                assert '"reason":"producer_lost"' in failed.data
                assert story(here) == story(there)  # the same single end, under the same id
                late = Viewer(f"{two.url}/v1/sessions/{name}/events")
                await late.watch()
                assert story(late) == story(here)

            # The one that only froze wakes up, is refused, and has written nothing.
            zombie = processes["frozen"]
            zombie.send_signal(signal.SIGCONT)
            _, errors = await asyncio.wait_for(zombie.communicate(), 20)
            assert zombie.returncode != 0
            assert b"SessionFenced" in errors
            after = Viewer(f"{one.url}/v1/sessions/frozen/events")
            await after.watch()
            assert story(after) == story(viewers["frozen"][0])

            for viewer in viewers["well"]:
                assert not viewer.named("session.failed")
                assert not viewer.named("session.producer")
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
                await process.communicate()
