"""The in-memory source: the same port without a broker, for tests and for embedding. Gone with the process.

One log for all sessions, like one stream: sequences are shared, a session sees its own. Bounded in bytes and, if
wanted, in age; the oldest records go first. `faults` makes it misbehave the ways a real broker does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.wire import Record, SessionKey
from holdfast.wire.codec import Draft
from holdfast.wire.subjects import incarnation_at
from holdfast_gateway.broker.feed import PAGE_RECORDS, FeedDriver
from holdfast_gateway.broker.memory_log import MemoryLog, Stored
from holdfast_gateway.broker.tasks import Tasks
from holdfast_gateway.ports import (
    Appended,
    AppendResult,
    Feed,
    FeedSink,
    Located,
    Page,
    Refused,
    SourceUnavailable,
    Unsettled,
)

DEFAULT_MAX_BYTES = 256 * 1024 * 1024
MAX_NUDGES = 1000


@dataclass(slots=True)
class Faults:
    """What goes wrong. All are off; tests turn them on at any time."""

    drop_live: Callable[[Record], bool] | None = None
    """Whether this record never reaches live feeds. The tail check finds it later."""
    double_live: Callable[[Record], bool] | None = None
    """Whether this record is delivered twice."""
    stale_by: int = 0
    """How many of the log's newest records a replica does not have yet, in the next `stale_reads` reads."""
    stale_reads: int = 0
    outage: bool = False
    """Nothing answers. Live delivery stops; what is appended is unsettled and not stored."""
    lose_acks: bool = False
    """Appends are stored and reported as unsettled."""
    reads: int = field(default=0)
    """Counts page reads, so that tests see how much healing cost."""


class MemorySource:
    """A `SessionSource` without a broker.

    Args:
        max_bytes: bound of the whole log; the oldest records go first.
        max_age_seconds: records older than this go, None for never. Judged at each append and read.
        sweep_seconds: how long a record lost on the way to the feeds stays unnoticed.
    """

    def __init__(
        self,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_age_seconds: float | None = None,
        sweep_seconds: float = 0.05,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.faults = Faults()
        self.nudged: list[tuple[SessionKey, str]] = []
        """Whom `nudge` was called for, newest last."""
        self._sweep_seconds = sweep_seconds
        self._clock = clock
        self._incarnation = incarnation_at(clock())
        self._limits = (max_bytes, max_age_seconds, clock)
        self.log = MemoryLog(*self._limits)
        self._feeds: dict[SessionKey, set[FeedDriver]] = {}
        self._listening: dict[SessionKey, set[FeedDriver]] = {}
        self._heard: dict[str, float] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks = Tasks("memory source")
        self._closed = False

    # ------------------------------------------------------------------------------------------ the port

    async def start(self) -> None:
        """Nothing to do: here so that adapters can be swapped."""

    async def incarnation(self, key: SessionKey) -> str:
        await self._answer()
        return self._incarnation

    def open_feed(self, key: SessionKey, sink: FeedSink, *, after: int = 0) -> Feed:
        entry = _MemoryInput(self, key)
        feeds = self._feeds.setdefault(key, set())

        def forget() -> None:
            feeds.discard(feed)
            if not feeds and self._feeds.get(key) is feeds:
                del self._feeds[key]

        feed = FeedDriver(sink, entry, self._tasks.spawn, after=after, on_close=forget)
        entry.driver = feed
        feeds.add(feed)
        return feed

    async def read(self, key: SessionKey, start: int, limit: int = PAGE_RECORDS) -> Page:
        await self._answer()
        faults = self.faults
        faults.reads += 1
        limit_sequence = self.log.last
        if faults.stale_reads > 0:
            faults.stale_reads -= 1
            limit_sequence -= faults.stale_by
        records: list[Record] = []
        pending = 0
        before: int | None = None
        for stored in self.log.of(key):
            sequence = stored.record.sequence
            if sequence < start or sequence > limit_sequence:
                continue
            if len(records) == limit:
                pending += 1
                continue
            records.append(stored.record._replace(previous=before if stored.expected is None else stored.expected))
            before = sequence
        return Page(tuple(records), pending)

    async def locate(self, key: SessionKey, incarnation: str, sequence: int) -> Located:
        await self._answer()
        if incarnation != self._incarnation:
            return Located.FOREIGN
        return self.log.locate(key, sequence)

    async def tail(self, key: SessionKey) -> Record | None:
        await self._answer()
        mine = self.log.of(key)
        return mine[-1].as_read if mine else None

    async def append(self, key: SessionKey, draft: Draft, expected: int | None) -> AppendResult:
        try:
            await self._answer()
        except SourceUnavailable as down:
            return Unsettled(str(down))
        actual = self.log.tail(key)
        if expected is not None and expected != actual:
            return Refused(actual)
        stored = self.log.append(key, draft, expected)
        self._republish(stored)
        return Unsettled("the acknowledgement was lost") if self.faults.lose_acks else Appended(stored.record.sequence)

    async def probe(self, key: SessionKey) -> bool:
        try:
            await self._answer()
        except SourceUnavailable:
            return False
        return True

    def silent_seconds(self, writer: str) -> float | None:
        heard = self._heard.get(writer.partition("-")[0])
        return None if heard is None else self._clock() - heard

    def nudge(self, key: SessionKey, writer: str) -> None:
        self.nudged.append((key, writer))
        del self.nudged[:-MAX_NUDGES]

    @property
    def ready(self) -> bool:
        return not self.faults.outage and not self._closed

    async def close(self) -> None:
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for feeds in list(self._feeds.values()):
            for feed in list(feeds):
                feed.close()
        await self._tasks.close()

    # ------------------------------------------------------------------------------------------ for tests

    def hint(self, token: str) -> None:
        """A heartbeat of the SDK process with this token."""
        self._heard[token] = self._clock()

    def trim(self, key: SessionKey, upto: int) -> None:
        """Lose this session's records up to and including `upto`, as a purge or the limits do."""
        self.log.trim(key, upto)

    def reconnect(self) -> None:
        """Every feed has lost its connection and has it back."""
        for feeds in list(self._feeds.values()):
            for feed in list(feeds):
                feed.on_trouble(recheck=True)

    def replace(self) -> None:
        """The log is another one now, empty, with another incarnation."""
        self._incarnation = incarnation_at(self._clock() + 1) + "r"
        self.log = MemoryLog(*self._limits)
        for feeds in list(self._feeds.values()):
            for feed in list(feeds):
                feed.on_gone("the stream was replaced by another incarnation")

    # ------------------------------------------------------------------------------------------ inside

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.faults.outage or self._closed:
            raise SourceUnavailable("the in-memory broker is switched off")

    def _republish(self, stored: Stored) -> None:
        faults, record = self.faults, stored.record
        if faults.drop_live is not None and faults.drop_live(record):
            self._later(self._sweep_seconds, self._sweep, stored.key)
            return
        loop = asyncio.get_running_loop()
        times = 2 if faults.double_live is not None and faults.double_live(record) else 1
        for _ in range(times):
            loop.call_soon(self._deliver, stored)

    def _deliver(self, stored: Stored) -> None:
        if self.faults.outage:
            return
        for feed in list(self._listening.get(stored.key, ())):
            feed.on_live(stored.record, stored.size_bytes)

    def _sweep(self, key: SessionKey) -> None:
        tail = self.log.tail(key)
        if tail and not self.faults.outage:
            for feed in list(self._feeds.get(key, ())):
                feed.on_newest(tail)

    def _later(self, seconds: float, call: Callable[[SessionKey], None], key: SessionKey) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call(key)

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def listen(self, key: SessionKey, feed: FeedDriver) -> None:
        self._listening.setdefault(key, set()).add(feed)

    def unlisten(self, key: SessionKey, feed: FeedDriver | None) -> None:
        listening = self._listening.get(key)
        if listening is not None and feed is not None:
            listening.discard(feed)
            if not listening:
                del self._listening[key]

    async def beyond(self, key: SessionKey, last: int) -> tuple[bool, Record | None]:
        await self._answer()
        mine = self.log.of(key)
        present = any(s.record.sequence == last for s in mine)
        above = next((s for s in mine if s.record.sequence > last), None)
        return present, None if above is None else above.as_read


class _MemoryInput:
    """A feed's side of the log."""

    def __init__(self, source: MemorySource, key: SessionKey) -> None:
        self._source = source
        self._key = key
        self.driver: FeedDriver | None = None

    async def subscribe(self) -> None:
        if not self._source.ready:
            await asyncio.sleep(0)
            raise SourceUnavailable("the in-memory broker is switched off")
        assert self.driver is not None
        self._source.listen(self._key, self.driver)

    async def page(self, start: int) -> Page:
        return await self._source.read(self._key, start)

    async def beyond(self, last: int) -> tuple[bool, Record | None]:
        return await self._source.beyond(self._key, last)

    def unsubscribe(self) -> None:
        self._source.unlisten(self._key, self.driver)
