"""Pods and producers that are cut off by half: heartbeats without the stream, the stream without heartbeats.

NATS forwards a core message by one hop. With the one route between two nodes cut, and the stream's leader on the third,
a pod on one of them sees every stored message of a producer on the other and none of its heartbeats. The reverse: a
node that is cut off from the cluster carries its own producer's heartbeats to its own pod, while nothing is stored.
Neither is a death.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from bench.faults.child import Child
from bench.faults.cluster import Cluster
from bench.faults.free_ports import FreePorts

import holdfast
from holdfast_gateway.broker.provision import provision
from tests.integration.gateway.programs import Program, running, serving, until
from tests.integration.gateway.viewing import Viewer

pytestmark = pytest.mark.fault

GRACE_SECONDS = 12
"""The shortest that is allowed; a wrongful judgement would come within hint + grace."""

HEARD_SECONDS = 3
"""A pod misses only heartbeats that it has heard before; they come every two seconds."""


class Parted:
    """Three nodes. Links named `12`, `13`, `23` go through a proxy each, the only way between their two nodes."""

    def __init__(self, directory: Path) -> None:
        ports = FreePorts()
        self.cluster = Cluster(directory / "nats", ports)
        nodes = self.cluster.nodes
        nowhere = ports.take()  # what nodes tell each other about themselves leads nowhere, so that no mesh forms
        everyone = ", ".join(f'"nats://127.0.0.1:{node.route_port}"' for node in nodes)
        self.links: dict[str, Child] = {}
        for name, near, far in (("12", 0, 1), ("23", 1, 2), ("13", 2, 0)):  # who dials whom: each pair once
            door = ports.take()
            argv = [sys.executable, "-m", "bench.faults.tcp_proxy", f"{door}=127.0.0.1:{nodes[far].route_port}"]
            self.links[name] = Child(f"link{name}", argv, directory / f"link{name}.log", control=True)
            config = nodes[near].config.read_text().replace(everyone, f'"nats://127.0.0.1:{door}"')
            config = config.replace("no_advertise: true", f'no_advertise: true\n  advertise: "127.0.0.1:{nowhere}"')
            nodes[near].config.write_text(config)

    def tell(self, word: str, *links: str) -> None:
        for name in links:
            self.links[name].tell(word)


@asynccontextmanager
async def parted(directory: Path) -> AsyncIterator[Parted]:
    """A provisioned cluster of one partition on three replicas."""
    made = Parted(directory)
    try:
        for link in made.links.values():
            link.start()
        await made.cluster.start()
        report = await provision(made.cluster.urls, partitions=1, replicas=3, max_bytes=64 * 1024**2)
        assert report.ok, str(report)
        await made.cluster.whole()
        yield made
    finally:
        await made.cluster.stop()
        for link in made.links.values():
            await link.kill()


async def led_by(made: Parted, place: int) -> None:
    """Have the one stream led by the node at this place."""
    (stream,) = await made.cluster.streams()
    async with asyncio.timeout(60):
        while await made.cluster.leader(stream) is not made.cluster.nodes[place]:
            await made.cluster.step_down(stream)
            await asyncio.sleep(0.5)


async def pods(stack: AsyncExitStack, made: Parted, directory: Path, *places: int) -> list[Program]:
    """A gateway on each of these nodes, which knows no other."""
    arguments = [serving(made.cluster.urls[place], "--grace", str(GRACE_SECONDS)) for place in places]
    return [await stack.enter_async_context(running(*argv, cwd=directory)) for argv in arguments]


def watch(group: asyncio.TaskGroup, pod: Program) -> Viewer:
    viewer = Viewer(f"{pod.url}/v1/sessions/chat-42/events?wait=30")
    group.create_task(viewer.watch())
    return viewer


async def test_the_stream_without_the_heartbeats_is_no_death(tmp_path: Path) -> None:
    """The producer's node and the pod's do not reach each other; the leader's reaches both. The model thinks silently
    for longer than hint and grace together: nobody closes the run."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(parted(tmp_path))
        await led_by(made, 2)
        deaf, hearing = await pods(stack, made, tmp_path, 1, 2)
        hf = await stack.enter_async_context(holdfast.connect(made.cluster.urls[0]))
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            viewers = [watch(group, deaf), watch(group, hearing)]
            async with hf.session("chat-42") as session:
                session.write("Let me think. ")
                await until(lambda: all(viewer.texts for viewer in viewers))
                await asyncio.sleep(HEARD_SECONDS)
                made.tell("cut", "12")
                await asyncio.sleep(6 + GRACE_SECONDS + 8)
                session.write("Yes.")
        for viewer in viewers:
            assert viewer.texts == ["Let me think. ", "Yes."]
            assert [told.event for told in viewer.seen if told.event in ("session.failed", "session.end")] == [
                "session.end"
            ]
        states = [told.data for told in viewers[0].named("session.producer")]
        assert states, "the cut did not even cost the hint: it was no cut"
        assert states == [told.data for told in viewers[1].named("session.producer")]
        print(f"\nhalf cut off: {len(states)} lost and back told on both pods, run closed by its writer")


async def test_the_heartbeats_without_the_stream_are_no_life_and_no_death(tmp_path: Path) -> None:
    """Producer and one pod are alone on a node that the others do not reach. There nothing is stored and nothing may be
    judged; the other pod may tell the producer lost, and takes it back when the node returns within the grace."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(parted(tmp_path))
        await led_by(made, 0)
        alone, outside = await pods(stack, made, tmp_path, 2, 0)
        hf = await stack.enter_async_context(holdfast.connect(made.cluster.urls[2]))
        written = ["Let me think. "]
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            viewers = [watch(group, alone), watch(group, outside)]
            async with hf.session("chat-42") as session:
                session.write(written[0])
                await until(lambda: all(viewer.texts for viewer in viewers))
                await asyncio.sleep(HEARD_SECONDS)
                made.tell("cut", "13", "23")
                await asyncio.sleep(8)  # past the hint, so that the outside tells it lost
                written += [f"{number} " for number in range(50)]
                for text in written[1:]:
                    session.write(text)
                await asyncio.sleep(4)
                assert viewers[0].texts == written[:1]
                made.tell("heal", "13", "23")
                await session.drain()
        for viewer in viewers:
            assert viewer.texts == written
            assert not viewer.named("session.failed")
            assert len(viewer.named("session.end")) == 1
        assert len({viewer.named("session.end")[0].id for viewer in viewers}) == 1
        print(f"\ncut off whole: {len(written)} events on both pods, producer {viewers[1].named('session.producer')}")
