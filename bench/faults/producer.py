"""A producer process: the SDK as a model loop uses it, and a journal of what it was told.

Each event is on record before it is handed over and again once the session counts it as stored. ``finish`` on
standard input ends all sessions in order; the end of standard input just ends the process.

Usage: ``python -m bench.faults.producer PLAN.json``
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import holdfast
from bench.faults.journal import Journal, fingerprint
from bench.faults.stdin_lines import stdin_lines

# What may break framing if anything does: several lines, a trailing one, separators, leading blanks, field names.
SPICES = ("", " word", "\nsecond line", " ends\n", "\u2028sep", "\n\ndata: x\nid: 9-9", "  ünïcödé 🦉")

# How many events a model's tick brings: several at once travel in one message.
BURSTS = (1, 1, 1, 2, 5)
ACK_LOOK_SECONDS = 0.01


class Session:
    """One session written at a rate until it is told to finish or refused.

    Args:
        name: The session.
        plan: The process's plan.
        journal: The process's journal.
    """

    def __init__(self, name: str, plan: dict[str, Any], journal: Journal) -> None:
        self._name = name
        self._plan = plan
        self._journal = journal
        self._random = random.Random(f"{plan['seed']}/{name}/{plan['run']}")
        self._written = 0
        self._stored = 0

    def _note(self, kind: str, **fields: object) -> None:
        self._journal.write(kind=kind, session=self._name, run=self._plan["run"], part=self._plan["part"], **fields)

    async def produce(self, hf: holdfast.Holdfast, started: asyncio.Semaphore, finish: asyncio.Event) -> None:
        """Write until ``finish`` or until the session is somebody else's. Cancelling leaves the end to the SDK."""
        try:
            begin = hf.resume if self._plan["part"] else hf.session
            async with begin(self._name, **self._plan["options"]) as session:
                started.release()
                async with asyncio.TaskGroup() as group:
                    acks = group.create_task(self._follow_acks(session))
                    await self._write(session, finish)
                    await session.drain()
                    self._acked(self._written)
                    acks.cancel()
                self._note("ending")
            self._note("ended", type="session.end")
        except BaseExceptionGroup as group_error:
            self._refused(group_error)
        except holdfast.HoldfastError as error:
            self._refused(error)

    def _refused(self, error: BaseException) -> None:
        leaf = error
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        if not isinstance(leaf, holdfast.HoldfastError):
            raise error
        self._note("refused", error=type(leaf).__name__, text=str(leaf)[:200])

    async def _write(self, session: holdfast.Session, finish: asyncio.Event) -> None:
        interval = sum(BURSTS) / len(BURSTS) / self._plan["rate"]
        while not finish.is_set():
            for _ in range(self._random.choice(BURSTS)):
                payload = self._payload()
                self._note("sent", index=self._written, payload=fingerprint(payload))
                while True:
                    try:
                        session.write(payload)
                        break
                    except holdfast.BufferFull:
                        await session.drain()
                self._written += 1
            await asyncio.sleep(interval * self._random.uniform(0.5, 1.5))

    async def _follow_acks(self, session: holdfast.Session) -> None:
        while True:
            await asyncio.sleep(ACK_LOOK_SECONDS)
            self._acked(session.stored_events)

    def _acked(self, known: int) -> None:
        if known > self._stored:
            self._note("acked", first=self._stored, last=known - 1)
            self._stored = known

    def _payload(self) -> str:
        writer = f"{self._plan['run']}.{self._plan['part']}"
        text = f"{self._name} writer {writer} event {self._written}{self._random.choice(SPICES)}"
        return text + "." * (int(self._plan["event_bytes"]) - len(text))


async def main(plan: dict[str, Any]) -> None:
    """Run all sessions of a plan."""
    journal = Journal(Path(plan["record"]))
    finish, started = asyncio.Event(), asyncio.Semaphore(0)
    journal.write(kind="running")
    async with holdfast.connect(plan["servers"]) as hf:
        journal.write(kind="connected")
        async with asyncio.TaskGroup() as group:
            for name in plan["sessions"]:
                group.create_task(Session(name, plan, journal).produce(hf, started, finish))
            for _ in plan["sessions"]:
                await started.acquire()
            print("ready", flush=True)
            group.create_task(_obey(finish))
    journal.write(kind="over")


async def _obey(finish: asyncio.Event) -> None:
    async for line in stdin_lines():
        if line == "finish":
            finish.set()
            return


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
