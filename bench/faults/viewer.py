"""Viewers in a process of their own: raw sockets, the rules of ``EventSource``, a record of every frame.

It imports nothing of Holdfast and no HTTP library. What a browser does is done here: the last event id persists over
connections and goes back as ``Last-Event-ID``; ``retry`` sets the reconnection time; an ended body or a network error
reconnects; 204 and any other status than 200 stop for good. Reconnects pick any gateway; a refused connection goes on
to the next at once, as a load balancer does.

Usage: ``python -m bench.faults.viewer PLAN.json`` (see `ViewerPlan`). A line ``quit`` or the end of standard input
ends it; a viewer that had not finished by then says so in its record.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults.eventsource import Block, EventSourceParser
from bench.faults.http_response import BadResponse, HttpResponse
from bench.faults.journal import Journal, fingerprint
from bench.faults.stdin_lines import stdin_lines

READ_BYTES = 64 * 1024
CONNECT_SECONDS = 3.0
# No heartbeat for this long and a browser's user has long reloaded; the gateway's comments come every few seconds.
SILENCE_SECONDS = 45.0
DEFAULT_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ViewerPlan:
    """One viewer.

    Attributes:
        name: Its name in the record, unique in the run.
        session: The session it watches.
        role: ``steady``; ``rude`` (stops reading or hangs up by itself, so its waiting is not timed); ``vanished``
            (its process is killed, so it is owed no end).
        query: The query string.
        start_after_seconds: How long after the process's start it attaches.
        hang_up_every_seconds: Mean time after which it drops its own connection; 0 = never.
        receive_buffer_bytes: ``SO_RCVBUF``; 0 = the system's.
    """

    name: str
    session: str
    role: str = "steady"
    query: str = "wait=30"
    start_after_seconds: float = 0.0
    hang_up_every_seconds: float = 0.0
    receive_buffer_bytes: int = 0


class Viewer:
    """One `EventSource` and its record."""

    def __init__(self, plan: ViewerPlan, gateways: list[tuple[str, int]], journal: Journal, seed: str) -> None:
        self.plan = plan
        self.finished = False
        self._gateways = gateways
        self._journal = journal
        self._random = random.Random(f"{seed}/{plan.name}")
        self._last_event_id = ""
        self._retry_seconds = DEFAULT_RETRY_SECONDS

    def _note(self, kind: str, **fields: object) -> None:
        self._journal.write(kind=kind, viewer=self.plan.name, **fields)

    async def run(self) -> None:
        """Watch until the stream says that it is over. Cancelling drops the connection."""
        self._note("viewer", session=self.plan.session, role=self.plan.role)
        await asyncio.sleep(self.plan.start_after_seconds)
        while not self.finished:
            await self._once()
            if not self.finished:
                await asyncio.sleep(self._retry_seconds)

    async def _once(self) -> None:
        order = self._random.sample(self._gateways, len(self._gateways))
        for gateway in order:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(sock=await self._socket(gateway))
            except (OSError, TimeoutError) as error:
                self._note("refused", gateway=gateway[1], why=type(error).__name__)
                continue
            try:
                why = await self._read(reader, writer, gateway)
            except (OSError, BadResponse) as error:
                why = f"{type(error).__name__}: {error}"
            finally:
                writer.transport.abort()
            self._note("closed", why=why)
            return

    async def _socket(self, gateway: tuple[str, int]) -> socket.socket:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        if self.plan.receive_buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.plan.receive_buffer_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(connection, gateway)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gateway: tuple[str, int]) -> str:
        self._note("opened", gateway=gateway[1], last_event_id=self._last_event_id)
        head = [
            f"GET /v1/sessions/{self.plan.session}/events?{self.plan.query} HTTP/1.1",
            f"Host: {gateway[0]}:{gateway[1]}",
            "Accept: text/event-stream",
            "Cache-Control: no-store",
        ]
        if self._last_event_id:
            head.append(f"Last-Event-ID: {self._last_event_id}")
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        response, parser, answered = HttpResponse(), EventSourceParser(self._last_event_id), False
        hang_up_seconds = self._hang_up_seconds()
        while True:
            try:
                async with asyncio.timeout(min(SILENCE_SECONDS, hang_up_seconds)) as limit:
                    received = await reader.read(READ_BYTES)
            except TimeoutError:
                return "hung up" if hang_up_seconds < SILENCE_SECONDS else "silent"
            if hang_up_seconds < SILENCE_SECONDS:
                hang_up_seconds = max(0.0, (limit.when() or 0.0) - asyncio.get_running_loop().time())
            if not received:
                return "peer closed"
            body = response.feed(received)
            if response.status is not None and not answered:
                answered = True
                self._note("status", status=response.status)
                if response.status != 200:
                    self._finish(f"status {response.status}")
                    return "stopped"
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    self._finish("content type")
                    return "stopped"
            self._take(parser.feed(body))
            self._last_event_id = parser.last_event_id
            if response.complete:
                return "ended"

    def _hang_up_seconds(self) -> float:
        mean = self.plan.hang_up_every_seconds
        return self._random.uniform(0.2 * mean, 1.8 * mean) if mean else SILENCE_SECONDS

    def _take(self, blocks: list[Block]) -> None:
        records: list[Mapping[str, object]] = []
        for block in blocks:
            if block.retry_milliseconds is not None:
                self._retry_seconds = block.retry_milliseconds / 1000
            record: dict[str, object] = {"viewer": self.plan.name, "id": block.id_field}
            if block.data is None:
                records.append({"kind": "cursor" if block.id_field is not None else "comment", **record})
            else:
                data = block.data if block.type.startswith("session.") else fingerprint(block.data)
                records.append({"kind": "frame", "type": block.type, "data": data, **record})
        if records:
            self._journal.write_all(records)

    def _finish(self, why: str) -> None:
        self.finished = True
        self._note("finished", why=why)


async def main(plan: dict[str, Any]) -> None:
    """Run all viewers of a plan."""
    journal = Journal(Path(plan["record"]))
    gateways = [(host, port) for host, port in plan["gateways"]]
    viewers = [Viewer(ViewerPlan(**viewer), gateways, journal, plan["seed"]) for viewer in plan["viewers"]]
    tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
    watching = asyncio.create_task(_all(tasks))
    quitting = asyncio.create_task(_quit())
    await asyncio.wait([watching, quitting], return_when=asyncio.FIRST_COMPLETED)
    for viewer, task in zip(viewers, tasks, strict=True):
        if not viewer.finished:
            failure = task.exception() if task.done() and not task.cancelled() else None
            journal.write(kind="gave up", viewer=viewer.plan.name, why=repr(failure) if failure else "still waiting")
        task.cancel()
    quitting.cancel()
    await asyncio.gather(*tasks, watching, quitting, return_exceptions=True)
    journal.write(kind="over")


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def _quit() -> None:
    async for line in stdin_lines():
        if line == "quit":
            return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
