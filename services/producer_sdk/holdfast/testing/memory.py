"""An in-memory twin of the broker: the same client, writer and reader over a log in this process.

It refuses, sequences and republishes as the broker does, so fencing, takeover, cancel and cursors behave alike. It does
not lose messages, has one replica and no retention: what needs those needs the real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from holdfast.answer import Answer, Verdict, unknown
from holdfast.client import Holdfast, over
from holdfast.log import Page, Place
from holdfast.wire import Draft, Namespace, Record, SessionKey, decode
from holdfast.wire import headers as h
from holdfast.wire.limits import MAX_EVENT_BYTES
from holdfast.wire.subjects import DEFAULT_PREFIX, DEFAULT_TENANT

PAGE_RECORDS = 64


class MemoryBroker:
    """The log itself, to be shared by several clients of one event loop.

    `offline = True` makes every append and page go unanswered, as a broker that is away.
    """

    def __init__(self, *, incarnation: str = "mem") -> None:
        self.incarnation = incarnation
        self.sequence = 0
        self.offline = False
        self.subjects: dict[str, list[Record]] = {}
        self.watches: dict[str, list[Callable[[bytes], None]]] = {}

    def append(self, subject: str, live: str, draft: Draft, expected: int | None) -> Answer:
        records = self.subjects.setdefault(subject, [])
        last = records[-1].sequence if records else 0
        if expected is not None and expected != last:
            return Answer(Verdict.REFUSED, last, f"wrong last sequence: {last}")
        self.sequence += 1
        fields = dict(draft.headers)
        if expected is not None:
            fields[h.EXPECTED_LAST] = str(expected)
        records.append(decode(self.sequence, fields, draft.body, previous=last))
        self.publish(live, draft.body)
        return Answer(Verdict.STORED, self.sequence)

    def publish(self, subject: str, body: bytes) -> None:
        for told in list(self.watches.get(subject, ())):
            told(body)


class MemoryLog:
    """See `holdfast.log.Log`."""

    def __init__(self, broker: MemoryBroker, *, prefix: str = DEFAULT_PREFIX, partitions: int = 1) -> None:
        self.broker = broker
        self.namespace = Namespace(partitions, prefix)
        self.servers: tuple[str, ...] = ("memory",)
        self.max_event_bytes = MAX_EVENT_BYTES
        self.max_age_seconds = 86_400.0
        self.on_up: Callable[[], None] = _nothing
        self._loop = asyncio.get_running_loop()

    def place(self, key: SessionKey) -> Place:
        partition = self.namespace.partition(key)
        stream = self.namespace.stream_name(partition, self.broker.incarnation)
        return Place(key, self.namespace.stored(key), self.namespace.live(key), stream, self.broker.incarnation)

    def append(self, place: Place, draft: Draft, expected: int | None, done: Callable[[Answer], None]) -> None:
        if self.broker.offline:
            answer = unknown("offline")
        else:
            answer = self.broker.append(place.stored, place.live, draft, expected)
        self._loop.call_soon(done, answer)

    def page(self, place: Place, after: int, done: Callable[[Page | None], None]) -> None:
        if self.broker.offline:
            self._loop.call_soon(done, None)
            return
        found = [r for r in self.broker.subjects.get(place.stored, ()) if r.sequence > after]
        self._loop.call_soon(done, Page(found[:PAGE_RECORDS], len(found) > PAGE_RECORDS))

    async def watch(self, subject: str, told: Callable[[bytes], None]) -> MemoryWatch:
        self.broker.watches.setdefault(subject, []).append(told)
        return MemoryWatch(self.broker, subject, told)

    def hint(self, subject: str, body: bytes) -> None:
        if not self.broker.offline:
            self._loop.call_soon(self.broker.publish, subject, body)

    async def last_sequence(self, place: Place) -> int | None:
        if self.broker.offline:
            return None
        records = self.broker.subjects.get(place.stored)
        return records[-1].sequence if records else 0

    async def purge(self, place: Place, before: int) -> bool:
        records = self.broker.subjects.get(place.stored, [])
        self.broker.subjects[place.stored] = [r for r in records if r.sequence >= before]
        return not self.broker.offline

    async def refresh(self) -> None:
        return None

    async def close(self) -> None:
        return None


class MemoryWatch:
    """A live subscription."""

    def __init__(self, broker: MemoryBroker, subject: str, told: Callable[[bytes], None]) -> None:
        self._broker, self._subject, self._told = broker, subject, told

    async def stop(self) -> None:
        """End it. Safe to call twice."""
        told = self._broker.watches.get(self._subject, [])
        if self._told in told:
            told.remove(self._told)


def _nothing() -> None:
    return None


@asynccontextmanager
async def memory(broker: MemoryBroker | None = None, *, tenant: str = DEFAULT_TENANT) -> AsyncIterator[Holdfast]:
    """A client like `holdfast.connect()` gives, over a log in memory: `async with memory() as hf`.

    Give two clients the same `MemoryBroker` to have them see each other.
    """
    async with over(MemoryLog(broker or MemoryBroker()), tenant=tenant) as hf:
        yield hf
