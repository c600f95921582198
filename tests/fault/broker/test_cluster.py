"""Feeds over a three-node cluster (real binary, R3) while nodes are killed, step down, freeze and lag.

Each test ends with the same judgement: every feed has exactly what the log has, in order, without a gap, and every
acknowledged append is in the log once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from bench.faults.child import Child
from bench.faults.cluster import Cluster
from bench.faults.free_ports import FreePorts

from holdfast.wire import Record, SessionKey
from holdfast_gateway.broker.jetstream import JetStreamSource
from holdfast_gateway.broker.provision import provision
from holdfast_gateway.ports import Appended, Refused, SourceUnavailable
from tests.sinks import Sink, text, until

pytestmark = [pytest.mark.fault, pytest.mark.asyncio(loop_scope="module")]

PARTITIONS = 2
SEED = int(os.environ.get("HOLDFAST_FAULT_SEED") or random.SystemRandom().randrange(10**6))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    cluster = Cluster(Path(tmp_path_factory.mktemp("cluster")), FreePorts())
    try:
        await cluster.start()
        print(f"\nHOLDFAST_FAULT_SEED={SEED}")
        report = await provision(cluster.urls, partitions=PARTITIONS, replicas=3, max_bytes=256 * 1024**2)
        assert report.ok, str(report)
        await cluster.whole()
        yield cluster
    finally:
        await cluster.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cluster, Child]]:
    """A cluster whose third node reaches the others, and is reached, through one proxy that can be cut."""
    directory, ports = Path(tmp_path_factory.mktemp("parted")), FreePorts()
    cluster = Cluster(directory, ports)
    door = {node.route_port: ports.take() for node in cluster.nodes}
    for node in cluster.nodes:
        config = node.config.read_text()
        config = config.replace(
            "no_advertise: true", f'no_advertise: true\n  advertise: "127.0.0.1:{door[node.route_port]}"'
        )
        for other in cluster.nodes:
            if other is not node and cluster.nodes[2] in (node, other):
                config = config.replace(
                    f"nats://127.0.0.1:{other.route_port}", f"nats://127.0.0.1:{door[other.route_port]}"
                )
        node.config.write_text(config)
    routes = [f"{near}=127.0.0.1:{far}" for far, near in door.items()]
    argv = [sys.executable, "-m", "bench.faults.tcp_proxy", *routes]
    proxy = Child("proxy", argv, directory / "proxy.log", control=True)
    try:
        proxy.start()
        await cluster.start()
        report = await provision(cluster.urls, partitions=PARTITIONS, replicas=3, max_bytes=256 * 1024**2)
        assert report.ok, str(report)
        await cluster.whole()
        yield cluster, proxy
    finally:
        await cluster.stop()
        await proxy.kill()


@dataclass
class Writer:
    """Appends a session's messages one by one and settles what is uncertain as the contract says."""

    source: JetStreamSource
    key: SessionKey
    acknowledged: list[int] = field(default_factory=list)
    unsettled: int = 0

    async def write(self, count: int, pause_seconds: float, chance: random.Random) -> None:
        tail = await self._tail()
        last = 0 if tail is None else tail.sequence
        for number in range(count):
            body = f"{self.key.session}:{last}:{number}"
            while True:
                result = await self.source.append(self.key, text(body), last)
                if isinstance(result, Appended):
                    last = result.sequence
                    break
                if isinstance(result, Refused) and (found := await self._mine(body, last)) is not None:
                    last = found
                    break
                self.unsettled += 1
                await asyncio.sleep(0.05)
            self.acknowledged.append(last)
            await asyncio.sleep(pause_seconds * chance.random())

    async def _tail(self) -> Record | None:
        while True:
            try:
                return await self.source.tail(self.key)
            except SourceUnavailable:
                await asyncio.sleep(0.1)

    async def _mine(self, body: str, above: int) -> int | None:
        """Whether an earlier attempt got in: read over what came after the last own message."""
        try:
            page = await self.source.read(self.key, above + 1)
        except SourceUnavailable:
            return None
        return next((r.sequence for r in page.records if r.events and r.events[0].text == body), None)


class Run:
    """Sources, writers and feeds of one test."""

    def __init__(self, cluster: Cluster, name: str, sessions: int) -> None:
        self.cluster = cluster
        self.chance = random.Random(f"{SEED}-{name}")
        self.keys = [SessionKey.of(f"{name}-{i}") for i in range(sessions)]
        self.sources: list[JetStreamSource] = []
        self.writers: list[Writer] = []
        self.feeds: list[tuple[SessionKey, Sink]] = []

    async def __aenter__(self) -> Run:
        for i in range(3):  # each pod prefers another node
            urls = self.cluster.urls[i:] + self.cluster.urls[:i]
            source = JetStreamSource(urls, sweep_seconds=0.5, options={"dont_randomize": True})
            await source.start()
            self.sources.append(source)
        self.writers = [Writer(self.sources[i % 3], key) for i, key in enumerate(self.keys)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for source in self.sources:
            await source.close()

    def view(self) -> None:
        """One more feed of each session on each pod."""
        for source in self.sources:
            for key in self.keys:
                sink = Sink()
                source.open_feed(key, sink)
                self.feeds.append((key, sink))

    async def write(self, count: int, pause_seconds: float) -> None:
        await asyncio.gather(*[w.write(count, pause_seconds, self.chance) for w in self.writers])

    async def judge(self, seconds: float = 15.0) -> None:
        await self.cluster.whole()
        log = {key: await self._log(key) for key in self.keys}
        for writer in self.writers:
            assert log[writer.key] == writer.acknowledged, f"{writer.key}: the log is not what was acknowledged"
        try:
            await until(lambda: all(len(s.records) >= len(log[k]) for k, s in self.feeds), seconds)
        finally:
            wrong = [(str(k), len(log[k]), s.told) for k, s in self.feeds if s.sequences != log[k]]
            assert wrong == []
        assert not [s.told for _, s in self.feeds if any(isinstance(t, tuple) for t in s.told)], "a gap without a loss"
        uncertain = sum(w.unsettled for w in self.writers)
        events = sum(len(s.records) for _, s in self.feeds)
        print(f"{len(self.feeds)} feeds, {events} records, {uncertain} uncertain appends: lost 0, doubled 0, gaps 0")

    async def _log(self, key: SessionKey) -> list[int]:
        sequences: list[int] = []
        while True:
            page = await self.sources[0].read(key, sequences[-1] + 1 if sequences else 1)
            sequences += [r.sequence for r in page.records]
            if page.exhausted:
                return sequences


async def streams(cluster: Cluster) -> list[str]:
    return [name for name in await cluster.streams() if name.startswith("HOLDFAST_")]


async def test_the_leaders_are_killed_while_everybody_writes_and_attaches(cluster: Cluster) -> None:
    """SIGKILL of each stream's leader in turn; acknowledged messages whose republish died with it are read."""
    async with Run(cluster, "killed", 12) as run:
        run.view()
        writing = asyncio.create_task(run.write(60, 0.1))
        for stream in await streams(cluster):
            await asyncio.sleep(1)
            leader = await cluster.leader(stream)
            await leader.child.kill()
            run.view()  # attaches without a leader
            await cluster.elected(stream, leader)
            await cluster.whole()
        await writing
        await run.judge()


async def test_producers_stop_at_the_kill_so_that_only_a_tail_check_can_tell(cluster: Cluster) -> None:
    """The last message of each session is acknowledged, its republish may die with the leader, nothing comes after."""
    async with Run(cluster, "tails", 20) as run:
        run.view()
        writing = asyncio.create_task(run.write(5, 0.0))
        leader = await cluster.leader(run.chance.choice(await streams(cluster)))
        await asyncio.sleep(0.02)
        await leader.child.kill()
        await writing
        await run.judge()


async def test_leaders_step_down_every_few_hundred_milliseconds(cluster: Cluster) -> None:
    async with Run(cluster, "stepdown", 12) as run:
        run.view()
        writing = asyncio.create_task(run.write(80, 0.06))
        for _ in range(6):
            for stream in await streams(cluster):
                await cluster.step_down(stream)
            await asyncio.sleep(0.2)
            run.view()
        await writing
        await run.judge()


async def test_attaches_to_replicas_that_lag_and_freeze(cluster: Cluster) -> None:
    """A follower is frozen, misses messages, thaws and answers from the past; feeds attach all the while."""
    async with Run(cluster, "stale", 10) as run:
        writing = asyncio.create_task(run.write(60, 0.1))
        stream = (await streams(cluster))[0]
        for _ in range(2):
            leader = await cluster.leader(stream)
            follower = next(node for node in cluster.nodes if node is not leader)
            follower.child.send(signal.SIGSTOP)
            await asyncio.sleep(0.7)
            run.view()
            follower.child.send(signal.SIGCONT)
            for _ in range(5):
                run.view()
                await asyncio.sleep(0.01)
        await writing
        await run.judge()


async def test_pods_on_a_node_that_is_cut_off_from_the_cluster(parted: tuple[Cluster, Child]) -> None:
    """Their connections stay, the replica there answers from the past, no leader is reached, and nothing comes live.

    A pod that knows another server moves there, and its viewers go on before the partition ends. One that does not
    calls nothing trimmed, future or writable, and is exact once the node is back.
    """
    cluster, proxy = parted
    async with Run(cluster, "parted", 8) as run:
        alone = JetStreamSource(cluster.urls[2:], sweep_seconds=0.5)
        moving = JetStreamSource(
            [cluster.urls[2], cluster.urls[0]], sweep_seconds=0.5, options={"dont_randomize": True}
        )
        try:
            for spare in run.sources[1:]:
                await spare.close()
            run.sources[1:] = [moving, alone]
            await moving.start()
            await alone.start()
            run.writers = [Writer(run.sources[0], key) for key in run.keys]
            run.view()
            await run.write(3, 0.0)
            assert moving.live_link.reconnects == 0
            proxy.tell("cut")
            writing = asyncio.create_task(run.write(50, 0.4))
            await asyncio.sleep(2)
            run.view()
            # The longest a leader that is cut off goes on answering is 14 s, and a probe goes by its majority before.
            await asyncio.sleep(4)
            assert not any([await alone.probe(key) for key in run.keys])
            await writing
            total = {w.key: len(w.acknowledged) for w in run.writers}
            there = [(k, s) for n, (k, s) in enumerate(run.feeds) if n // len(run.keys) % 3 == 1]
            await until(lambda: all(len(s.records) >= total[k] for k, s in there), 40)
            assert moving.live_link.reconnects > 0
            found = await asyncio.gather(
                *[alone.locate(w.key, await alone.incarnation(w.key), w.acknowledged[-1]) for w in run.writers],
                return_exceptions=True,
            )
            assert {type(one) for one in found} == {SourceUnavailable}, found
            proxy.tell("heal")
            await run.judge(30)
        finally:
            proxy.tell("heal")
            await moving.close()
            await alone.close()
