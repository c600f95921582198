"""Three nodes: leaders step down and are killed while a hundred sessions write.

One node hides what matters here: error 10164, elections, replicas that are behind, and acks that die with a leader.
The figures of the issue (50 stepdowns, 10 kills) take some minutes: HOLDFAST_FAULT_LONG=1. What is read back comes from
the stream itself, and is compared with what the producers wrote.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

import holdfast
from holdfast.connection import Access, Connection
from holdfast.requests import Requests
from holdfast.testing import NatsCluster, create_streams

pytestmark = pytest.mark.fault

LONG = bool(os.environ.get("HOLDFAST_FAULT_LONG"))
STEPDOWNS, KILLS, SESSIONS = (50, 10, 100) if LONG else (6, 1, 100)
PARTITIONS = 2


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path) as running:
        yield running


class Admin:
    """What an operator does, over a connection of its own."""

    def __init__(self, connection: Connection, requests: Requests, streams: list[str]) -> None:
        self.connection, self._requests, self.streams = connection, requests, streams

    async def ask(self, subject: str) -> dict[str, object]:
        while True:
            try:
                status, body = await self._requests.request(subject, b"", 2.0)
                if status == 0:
                    answer = json.loads(body)
                    assert isinstance(answer, dict)
                    return answer
            except (TimeoutError, ConnectionError):
                pass
            await asyncio.sleep(0.1)

    async def leader(self, stream: str) -> str:
        """The leader's name, once there is one and all replicas are current."""
        while True:
            info = await self.ask(f"$JS.API.STREAM.INFO.{stream}")
            cluster = info.get("cluster")
            if isinstance(cluster, dict) and cluster.get("leader"):
                replicas = cluster.get("replicas") or []
                if all(r.get("current") and not r.get("offline") for r in replicas):
                    return str(cluster["leader"])
            await asyncio.sleep(0.1)

    async def step_down(self, stream: str) -> None:
        await self.ask(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}")


@pytest_asyncio.fixture
async def admin(cluster: NatsCluster) -> AsyncIterator[Admin]:
    streams = await create_streams(cluster.urls, partitions=PARTITIONS, replicas=3, timeout_seconds=60)
    connection = Connection(cluster.urls, Access(), "admin")
    await connection.open(10)
    requests = Requests(connection)
    await requests.open()
    yield Admin(connection, requests, streams)
    requests.close()
    await connection.close()


async def test_stepdowns_and_leader_kills(cluster: NatsCluster, admin: Admin) -> None:
    """Lost 0, doubled 0, reordered 0; every session ends."""
    seed = int(os.environ.get("HOLDFAST_FAULT_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    print(f"\nHOLDFAST_FAULT_SEED={seed}")
    over = asyncio.Event()
    written: dict[str, list[str]] = {f"s{i}": [] for i in range(SESSIONS)}
    stalls: list[float] = []

    async def produce(hf: holdfast.Holdfast, sid: str) -> None:
        rate = random.Random(f"{seed}/{sid}")
        async with hf.session(sid) as s:
            while not over.is_set():
                text = f"{sid}:{len(written[sid])}"
                await s.write_async(text)
                written[sid].append(text)
                if rate.random() < 0.02:
                    began = time.monotonic()
                    await s.drain()
                    stalls.append(time.monotonic() - began)
                await asyncio.sleep(rate.uniform(0.02, 0.08))

    async def hurt() -> None:
        kills_at = {round((i + 1) * STEPDOWNS / (KILLS + 1)) for i in range(KILLS)}
        for i in range(STEPDOWNS):
            await asyncio.sleep(rng.uniform(0.1, 0.5))
            stream = rng.choice(admin.streams)
            await admin.leader(stream)
            await admin.step_down(stream)
            if i in kills_at:
                node = cluster.node(await admin.leader(rng.choice(admin.streams)))
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(rng.uniform(1, 5))
                await asyncio.to_thread(node.start)
        await asyncio.gather(*(admin.leader(s) for s in admin.streams))
        over.set()

    began = time.monotonic()
    async with holdfast.connect(cluster.urls, handle_sigterm=False, timeout_seconds=20) as hf:
        async with asyncio.timeout(600), asyncio.TaskGroup() as group:
            for sid in written:
                group.create_task(produce(hf, sid))
            await hurt()
        for sid, wanted in written.items():
            got = [e async for e in hf.read(sid)]
            assert [e.text for e in got if not e.control] == wanted
            assert [e.type for e in got if e.control and e.id] == ["session.start", "session.end"]
    events = sum(map(len, written.values()))
    print(
        f"{STEPDOWNS} stepdowns, {KILLS} leader kills, {SESSIONS} sessions, {events} events in "
        f"{time.monotonic() - began:.0f} s: lost 0, doubled 0, reordered 0, longest drain {max(stalls):.1f} s"
    )
    assert max(stalls) < 12.0


async def test_hundred_starts_at_once_on_one_session(cluster: NatsCluster, admin: Admin) -> None:
    """Everybody fences everybody; each run is whole or fenced, the last one ends."""
    async with holdfast.connect(cluster.urls, handle_sigterm=False) as hf:

        async def start(n: int) -> str:
            try:
                async with hf.session("contended") as s:
                    s.write(f"{n}")
                return "ended"
            except holdfast.SessionFenced:
                return "fenced"

        async with asyncio.timeout(60):
            results = await asyncio.gather(*(start(n) for n in range(30)))
        events = [e async for e in hf.read("contended", follow=False)]
        while len([e for e in events if e.type == "session.start"]) < 30:
            events += [e async for e in hf.read("contended", events[-1].id)]
    ended = [e for e in events if e.type == "session.end"]
    failed = [e for e in events if e.type == "session.failed"]
    assert (len(ended), len(failed)) == (results.count("ended"), results.count("fenced"))
    assert len(ended) >= 1


async def test_lame_duck_node_is_left_before_it_goes(cluster: NatsCluster, admin: Admin) -> None:
    """A planned change: nobody waits a second."""
    async with holdfast.connect([cluster.nodes[0].url], handle_sigterm=False) as hf:
        worst = 0.0
        async with hf.session("calm") as s:
            for i in range(100):
                if i == 20:
                    cluster.nodes[0].signal(signal.SIGUSR2)
                began = time.monotonic()
                s.write(str(i))
                await s.drain()
                worst = max(worst, time.monotonic() - began)
                await asyncio.sleep(0.03)
        assert [e.text async for e in hf.read("calm") if not e.control] == [str(i) for i in range(100)]
    print(f"\nworst drain around a lame duck: {worst * 1000:.0f} ms")
    assert worst < 2.0
