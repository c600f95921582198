"""One run: a schedule carried out under load, then the judge."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench.faults.checker.judge import Finding, Verdict, judge_directory
from bench.faults.child import Child
from bench.faults.deeds import Deeds
from bench.faults.journal import Journal
from bench.faults.schedule import Schedule, Step, Watchers, Writers, schedule
from bench.faults.world import LEASE_SECONDS, World, python_child

START_SECONDS = 20.0
FINISH_SECONDS = 25.0


@dataclass(slots=True)
class Outcome:
    """What one run was and what came of it; ``done`` says what was really done to the system, with times."""

    fault: str
    run: int
    seed: int
    done: list[str]
    verdict: Verdict
    seconds: float
    election_seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.verdict.findings

    def line(self) -> str:
        """One line for people."""
        longest = max(self.verdict.stalls.longest, default=0.0)
        wrong = " ".join(f"{kind}={count}" for kind, count in self.verdict.counts.items() if count) or "nothing wrong"
        return (
            f"{self.fault} #{self.run}: {self.verdict.viewers} viewers, {self.verdict.events} events, "
            f"{self.verdict.deliveries} deliveries, longest stall {longest:.2f} s, {wrong} "
            f"[{'; '.join(self.done)}] {self.seconds:.0f} s"
        )


@dataclass(slots=True)
class Cast:
    """The processes of one run."""

    directory: Path
    prefix: str
    seed: str
    servers: list[str]
    gateways: list[tuple[str, int]]
    producers: list[Child] = field(default_factory=list)
    viewers: list[Child] = field(default_factory=list)
    sessions: list[list[str]] = field(default_factory=list)
    heirs: list[Child] = field(default_factory=list)

    def add_producer(self, number: int, writers: Writers, sessions: list[str], *, run: int = 1, part: int = 0) -> Child:
        """Write a producer's plan and start it; a `part` above 0 resumes the run instead of starting one."""
        name = f"producer-{number}-{run}-{part}"
        plan = {
            "record": str(self.directory / f"{name}.jsonl"),
            "servers": self.servers,
            "sessions": sessions,
            "run": run,
            "part": part,
            "rate": writers.rate,
            "event_bytes": writers.event_bytes,
            "seed": self.seed,
            "options": {"lease_seconds": LEASE_SECONDS},
        }
        return self._start(name, "producer", plan)

    def add_viewers(self, number: int, watchers: Watchers, rng: Random) -> None:
        """Write a viewer process's plan, one viewer for every session, and start it."""
        name = f"viewer-{number}"
        plan = {
            "record": str(self.directory / f"{name}.jsonl"),
            "gateways": self.gateways,
            "seed": self.seed,
            "viewers": [
                {
                    "name": f"{session}/{number}",
                    "session": session,
                    "role": watchers.role,
                    "query": "wait=30",
                    "start_after_seconds": rng.uniform(0, watchers.spread_seconds),
                    "hang_up_every_seconds": watchers.hang_up_every_seconds,
                    "receive_buffer_bytes": watchers.receive_buffer_bytes,
                }
                for of_producer in self.sessions
                for session in of_producer
            ],
        }
        self.viewers.append(self._start(name, "viewer", plan))

    def _start(self, name: str, module: str, plan: Mapping[str, object]) -> Child:
        path = self.directory / f"{name}.plan.json"
        path.write_text(json.dumps(plan))
        child = python_child(name, module, path, self.directory / f"{name}.log")
        child.start()
        return child

    async def ready(self) -> None:
        """Wait until every producer has opened its sessions.

        Raises:
            RuntimeError: One ended instead or took longer than `START_SECONDS`.
        """
        deadline = time.monotonic() + START_SECONDS
        for child in self.producers:
            log = self.directory / f"{child.name}.log"
            while "ready\n" not in await asyncio.to_thread(log.read_text):
                if not child.alive or time.monotonic() > deadline:
                    raise RuntimeError(f"{child.name} did not start: {await asyncio.to_thread(log.read_text)}")
                await asyncio.sleep(0.02)

    async def finish(self, killed: set[str]) -> list[Finding]:
        """End the sessions in order, let the viewers see it, and say who did not end."""
        findings = []
        deadline = time.monotonic() + FINISH_SECONDS
        writers = [child for child in (*self.producers, *self.heirs) if child.name not in killed]
        for child in writers:
            child.tell("finish")
        for child in writers:
            status = await child.ended(max(0.1, deadline - time.monotonic()))
            if status != 0:
                findings.append(Finding("unended", "-", child.name, f"producer process ended with {status}"))
        watching = [child for child in self.viewers if child.name not in killed]
        for child in watching:
            if await child.ended(max(0.1, deadline - time.monotonic())) is None:
                child.tell("quit")
                await child.ended(5)
        return findings

    async def stop(self) -> None:
        """End whatever is left."""
        for child in (*self.producers, *self.heirs, *self.viewers):
            await child.kill()


async def run_once(world: World, fault: str, seed: int, run: int) -> Outcome:
    """Carry out one run of a fault in a world that is whole, judge it, and leave the world whole again.

    Cancelling kills the run's own processes and leaves the world as it is.
    """
    began = time.monotonic()
    plan = schedule(fault, seed, run, len(world.streams))
    directory = world.directory / f"{fault}-{run}"
    directory.mkdir()
    (directory / "schedule.txt").write_text(f"seed {seed}\n{plan}\n")
    cast = Cast(
        directory,
        f"{fault}-{run}-{seed}",
        f"{seed}/{fault}/{run}",
        world.cluster.urls,
        [("127.0.0.1", gateway.port) for gateway in world.gateways],
    )
    journal = Journal(directory / "expected.jsonl")
    deeds = Deeds(world, cast, plan, journal)
    try:
        await _load(cast, plan)
        await _carry_out(deeds, plan.steps)
        await deeds.over()
        await asyncio.sleep(plan.after_seconds)
        missed = await cast.finish(deeds.killed)
    finally:
        await cast.stop()
        journal.close()
    await world.whole()
    verdict = await asyncio.to_thread(judge_directory, directory)
    verdict.findings += missed
    return Outcome(fault, run, seed, deeds.done, verdict, time.monotonic() - began, deeds.election_seconds)


async def _load(cast: Cast, plan: Schedule) -> None:
    rng = Random(f"{cast.seed}/load")
    for number, writers in enumerate(plan.writers):
        cast.sessions.append([f"{cast.prefix}-{number}-{n}" for n in range(writers.sessions)])
    for number, watchers in enumerate(plan.watchers):
        cast.add_viewers(number, watchers, rng)
    for number, writers in enumerate(plan.writers):
        cast.producers.append(cast.add_producer(number, writers, cast.sessions[number]))
    await cast.ready()


async def _carry_out(deeds: Deeds, steps: tuple[Step, ...]) -> None:
    start = deeds.begin()
    for step in steps:
        await asyncio.sleep(max(0.0, start + step.at_seconds - time.monotonic()))
        await deeds.do(step)
