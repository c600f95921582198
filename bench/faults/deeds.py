"""What a schedule's words mean: each action done to real processes, with a note of what was really done."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from bench.faults.cluster import Node
from bench.faults.journal import Journal
from bench.faults.polling import until
from bench.faults.schedule import Schedule, Step
from bench.faults.world import CLOSED_WITHIN_SECONDS, LEASE_SECONDS, World

if TYPE_CHECKING:
    from bench.faults.run import Cast

LAME_DUCK_SECONDS = 45.0
SUPERSEDED_WITHIN_SECONDS = 10.0
# The rule says L + 1; one more for two cores that carry everything.
TOLD_WITHIN_SECONDS = LEASE_SECONDS + 2.0


class Deeds:
    """The hands of one run.

    Attributes:
        done: What was really done, with seconds since the start.
        killed: Names of processes that owe nothing any more.
        election_seconds: The longest that a stream had no leader after a SIGKILL, as its API told.
    """

    def __init__(self, world: World, cast: Cast, plan: Schedule, journal: Journal) -> None:
        self.done: list[str] = []
        self.killed: set[str] = set()
        self.election_seconds = 0.0
        self._elections: list[asyncio.Task[None]] = []
        self._world = world
        self._cast = cast
        self._plan = plan
        self._journal = journal
        self._down: Node | None = None
        self._start = time.monotonic()

    def begin(self) -> float:
        """Set the zero of the notes' times to now and return it, in monotonic seconds."""
        self._start = time.monotonic()
        return self._start

    def _note(self, what: str) -> None:
        self.done.append(f"{time.monotonic() - self._start:.1f}s {what}")

    async def do(self, step: Step) -> None:
        """Carry out one step and return when it is done."""
        target, cluster = step.target, self._world.cluster
        match step.action:
            case "kill leader":
                stream = self._world.streams[target]
                self._down = await cluster.leader(stream)
                led = await cluster.led_by(self._down)
                await self._down.child.kill()
                self._note(f"killed {self._down.name}, leader of {len(led)} of {len(self._world.streams)} streams")
                self._elections = [asyncio.create_task(self._election(name, self._down)) for name in led]
            case "start node":
                await self._start_node()
            case "step down":
                stream = self._world.streams[target]
                before = await cluster.leader(stream)
                await cluster.step_down(stream)
                self._note(f"stepped {before.name} down from {stream}")
            case "lame duck":
                self._down = cluster.nodes[target]
                self._down.child.send(signal.SIGUSR2)
                self._note(f"lame duck {self._down.name}")
                if await self._down.child.ended(LAME_DUCK_SECONDS) is None:
                    raise TimeoutError(f"{self._down.name} did not end its lame duck mode")
                self._note(f"{self._down.name} gone")
            case "kill gateway":
                await self._world.gateways[target].child.kill()
                self._note(f"killed gateway {target}")
            case "start gateway":
                await self._world.gateways[target].start()
                self._note(f"gateway {target} back")
            case "link":
                self._world.gateways[target].link(step.mode)
                self._note(f"link of gateway {target}: {step.mode}")
            case "stop viewers" | "continue viewers" | "kill viewers":
                await self._viewers(step)
            case "kill producer" | "stop producer" | "take over" | "await lost" | "continue producer":
                await self._producer(step)
            case _:
                raise ValueError(step.action)

    async def _election(self, stream: str, dead: Node) -> None:
        began = time.monotonic()
        leader = await self._world.cluster.elected(stream, dead)
        self.election_seconds = max(self.election_seconds, time.monotonic() - began)
        self._note(f"{leader.name} elected for {stream}")

    async def over(self) -> None:
        """Wait for what is still being watched, and pass on its failure."""
        await asyncio.gather(*self._elections)

    async def _start_node(self) -> None:
        if self._down is None:
            raise RuntimeError("no node is down")
        self._down.child.start()
        self._note(f"started {self._down.name}")

    async def _viewers(self, step: Step) -> None:
        child = self._cast.viewers[step.target]
        if step.action == "kill viewers":
            self.killed.add(child.name)
            await child.kill()
        else:
            child.send(signal.SIGSTOP if step.action == "stop viewers" else signal.SIGCONT)
        self._note(f"{step.action} {step.target}")

    async def _producer(self, step: Step) -> None:
        target = step.target
        child, sessions = self._cast.producers[target], self._cast.sessions[target]
        taken_over = any(other.action == "take over" and other.target == target for other in self._plan.steps)
        match step.action:
            case "kill producer":
                self.killed.add(child.name)
                await child.kill()
                self._owe(sessions, "producer_lost", CLOSED_WITHIN_SECONDS)
            case "stop producer":
                child.send(signal.SIGSTOP)
                for session in sessions:
                    self._journal.write(kind="fenced", session=session, run=1)
                if not taken_over:
                    self._owe(sessions, "producer_lost", CLOSED_WITHIN_SECONDS)
            case "take over":
                resumed = step.mode == "resume"
                self._owe(sessions, "" if resumed else "superseded", SUPERSEDED_WITHIN_SECONDS)
                run, part = (1, 1) if resumed else (2, 0)
                heir = self._cast.add_producer(target, self._plan.writers[target], sessions, run=run, part=part)
                self._cast.heirs.append(heir)
            case "await lost":
                # Past the bound too: waking the writer of a run that is closed late would hide why it is late.
                await until(lambda: self._all_told_failed(sessions), CLOSED_WITHIN_SECONDS + 20.0)
            case "continue producer":
                child.send(signal.SIGCONT)
        self._note(f"{step.action} {target}{' by ' + step.mode if step.mode else ''}")

    async def _all_told_failed(self, sessions: list[str]) -> bool:
        """Whether the first viewer process has an end of each session on record."""
        record = self._cast.directory / "viewer-0.jsonl"
        ends = [line for line in (await asyncio.to_thread(record.read_text)).splitlines() if '"session.failed"' in line]
        return all(any(f'"{session}/0"' in line for line in ends) for session in sessions)

    def _owe(self, sessions: list[str], reason: str, within_seconds: float) -> None:
        now = time.monotonic()
        for session in sessions:
            self._journal.write(kind="untimed", session=session)
            demands = [("session.failed", reason, within_seconds)] if reason else []
            if reason == "producer_lost":
                demands.append(("session.producer", "lost", TOLD_WITHIN_SECONDS))
            for type_, why, within in demands:
                told = {"type": type_, "reason": why, "after": now, "within_seconds": within}
                self._journal.write(kind="expected", session=session, run=1, **told)
