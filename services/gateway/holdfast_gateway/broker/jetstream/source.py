"""The JetStream source: the port's adapter for a NATS cluster. No consumer anywhere; why: docs/adr, ADR-0001."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.wire import Namespace, Record, SessionKey
from holdfast.wire.codec import Draft
from holdfast.wire.subjects import DEFAULT_PREFIX, is_token
from holdfast_gateway.broker.feed import PAGE_RECORDS, FeedDriver
from holdfast_gateway.broker.jetstream import append as appends
from holdfast_gateway.broker.jetstream import locate, streams
from holdfast_gateway.broker.jetstream.access import access
from holdfast_gateway.broker.jetstream.channel import Channel, ChannelInput, Partition
from holdfast_gateway.broker.jetstream.directget import Reader
from holdfast_gateway.broker.jetstream.doubts import Doubts
from holdfast_gateway.broker.jetstream.hints import Hints
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.broker.jetstream.lookout import Lookout
from holdfast_gateway.broker.jetstream.streams import Api, Found
from holdfast_gateway.broker.jetstream.sweeper import SWEEP_SECONDS, sweep
from holdfast_gateway.broker.tasks import Tasks
from holdfast_gateway.core.order import DEFAULT_HOLD_BYTES
from holdfast_gateway.ports import (
    AppendResult,
    Feed,
    FeedSink,
    Located,
    Page,
    Refused,
    SourceUnavailable,
    Unsettled,
)

log = logging.getLogger(__name__)

IN_TOUCH_SECONDS = 0.5
"""One answer about a stream's leader serves the probes of all its sessions for so long."""


class JetStreamSource:
    """A `SessionSource` over NATS JetStream.

    Args:
        servers: URLs of the cluster's servers; one is enough to find the others.
        prefix: subject prefix of the namespace.
        connect_seconds: how long `start` tries before it says that nobody is there.
        reads_at_once: page reads at once per stream; a replica blocks its stream's writes while it answers one.
        hold_bytes: live records kept per feed while a hole before them is read.
        sweep_seconds: how long a lost last message may go unnoticed.
        api: subjects of the JetStream API, where an import renames them.
        fast: use the fast parser where nats-py's internals allow it.
        options: passed to nats-py's `connect` (`user_credentials`, `tls`, `inbox_prefix`, ...).
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        prefix: str = DEFAULT_PREFIX,
        connect_seconds: float = 10.0,
        reads_at_once: int = 2,
        hold_bytes: int = DEFAULT_HOLD_BYTES,
        sweep_seconds: float = SWEEP_SECONDS,
        api: Api | None = None,
        fast: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._api = api or Api()
        self._prefix = prefix
        self._connect_seconds = connect_seconds
        self._reads_at_once = reads_at_once
        self._hold_bytes = hold_bytes
        self._sweep_seconds = sweep_seconds
        self._tasks = Tasks("jetstream source")
        way = access(servers, options or {})
        self.live_link = Link(way, "holdfast-live", on_down=self._live_down, on_up=self._live_up, fast=fast)
        self._read_link = Link(way, "holdfast-read", on_up=self._read_up, fast=fast)
        self._reader = Reader(self._read_link, self._api)
        self._hints = Hints(prefix)
        self._doubts = Doubts()
        self._sweep_now = asyncio.Event()
        self._lookout = Lookout(
            self._look, self._doubts, on_found=self._adopt, on_gone=self._gone, on_mute=self._move, tasks=self._tasks
        )
        self._found: Found | None = None
        self._partitions: dict[int, Partition] = {}
        self._closed = False

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect, find the streams, begin to sweep. Raises `SourceUnavailable`, saying what was tried."""
        try:
            await self.live_link.connect(self._connect_seconds)
            await self._read_link.connect(self._connect_seconds)
            self._adopt(await streams.patiently(self._look, self._connect_seconds))
        except BaseException:
            await self.close()
            raise
        self._hints.listen(self.live_link)
        self._tasks.spawn(self._sweep())
        self._tasks.spawn(self._lookout.run())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for partition in self._partitions.values():
            for channel in list(partition.channels.values()):
                for feed in list(channel.feeds):
                    feed.close()
        await self._tasks.close()
        await self.live_link.close()
        await self._read_link.close()

    @property
    def ready(self) -> bool:
        return self.live_link.up and self._read_link.up and self._found is not None

    @property
    def fast(self) -> bool:
        """Whether ingest takes the fast way."""
        return self.live_link.fast

    @property
    def namespace(self) -> Namespace:
        return self._known().namespace

    # ------------------------------------------------------------------------------------------ the port

    async def incarnation(self, key: SessionKey) -> str:
        found = self._known()
        return found.streams[found.namespace.partition(key)].incarnation

    def open_feed(self, key: SessionKey, sink: FeedSink, *, after: int = 0) -> Feed:
        """Raises `SourceUnavailable` before `start`."""
        number = self.namespace.partition(key)
        partition = self._partitions[number]
        subject = self.namespace.stored(key)
        channel = partition.channels.get(subject)
        if channel is None:
            channel = partition.channels[subject] = Channel(self, key, number)
        entry = ChannelInput(channel)

        def forget() -> None:
            channel.feeds.remove(feed)
            if not channel.feeds and partition.channels.get(subject) is channel:
                del partition.channels[subject]
                if channel.subscription is not None:
                    self.live_link.unsubscribe(channel.subscription)

        feed = FeedDriver(sink, entry, self._tasks.spawn, after=after, hold_bytes=self._hold_bytes, on_close=forget)
        channel.feeds.append(feed)
        channel.swept = False
        return feed

    async def read(self, key: SessionKey, start: int, limit: int = PAGE_RECORDS) -> Page:
        number, stream = self._place(key)
        try:
            async with self._partitions[number].reading:
                return await self._reader.page(stream, self.namespace.stored(key), start, limit)
        except SourceUnavailable:
            self._failed(number)
            raise

    async def beyond(self, key: SessionKey, last: int) -> tuple[bool, Record | None]:
        """The leader's word on a record and the one after it, see `FeedInput`."""
        number, stream = self._place(key)
        try:
            return await self._reader.beyond(stream, self.namespace.stored(key), last)
        except SourceUnavailable:
            self._failed(number)
            raise

    async def locate(self, key: SessionKey, incarnation: str, sequence: int) -> Located:
        if incarnation != await self.incarnation(key):
            return Located.FOREIGN
        number, stream = self._place(key)
        partition = self._partitions[number]
        try:
            return await locate.locate(
                self._reader, stream, self.namespace.stored(key), sequence, lambda: partition.highest
            )
        except SourceUnavailable:
            self._failed(number)
            raise

    async def tail(self, key: SessionKey) -> Record | None:
        number, stream = self._place(key)
        try:
            last = await self._reader.leader(stream, {"last_by_subj": self.namespace.stored(key)})
        except SourceUnavailable:
            self._failed(number)
            raise
        return None if last is None else last[1]

    async def append(self, key: SessionKey, draft: Draft, expected: int | None) -> AppendResult:
        try:
            number, stream = self._place(key)
        except SourceUnavailable as unknown:
            return Unsettled(str(unknown))
        result, code = await appends.append(self._read_link, stream, self.namespace.stored(key), draft, expected)
        if isinstance(result, Unsettled):
            self._failed(number)
        elif isinstance(result, Refused) and code == appends.WRONG_STREAM:
            self._lookout.soon()
        return result

    async def probe(self, key: SessionKey) -> bool:
        try:
            number, stream = self._place(key)
        except SourceUnavailable:
            return False
        good, code = await appends.probe(self._read_link, stream, self.namespace.stored(key))
        if not (good and await self._in_touch(self._partitions[number], stream)):
            good = False
            self._failed(number)
            if code == appends.WRONG_STREAM:
                self._lookout.soon()
        return good

    async def _in_touch(self, partition: Partition, stream: str) -> bool:
        """Whether the stream's leader hears its majority. Alone it goes on refusing appends as if it could take them,
        for up to 14 s (run): that must not count as the stream being writable."""
        now = asyncio.get_running_loop().time()
        if partition.in_touch_at is None or now - partition.in_touch_at > IN_TOUCH_SECONDS:
            try:
                await self._reader.last_sequence(stream)
            except SourceUnavailable:
                partition.in_touch_at = None
                return False
            partition.in_touch_at = now
        return True

    def silent_seconds(self, writer: str) -> float | None:
        return self._hints.silent_seconds(writer, asyncio.get_running_loop().time())

    def nudge(self, key: SessionKey, writer: str) -> None:
        if not is_token(writer):
            return
        try:
            namespace = self.namespace
            self.live_link.publish(namespace.writer_nudge(writer), namespace.stored(key).encode())
        except SourceUnavailable:
            pass  # the writer finds out by itself

    # ------------------------------------------------------------------------------------------ inside

    def _known(self) -> Found:
        if self._found is None or self._closed:
            raise SourceUnavailable("the source is closed" if self._closed else "the streams are not known yet")
        return self._found

    def _place(self, key: SessionKey) -> tuple[int, str]:
        found = self._known()
        number = found.namespace.partition(key)
        return number, found.names[number]

    def _failed(self, number: int) -> None:
        """A request on this stream came to nothing: all its sessions' clocks of silence restart."""
        if not self._closed:
            self._partitions[number].on_failure()
            self._lookout.soon()

    def _live_down(self) -> None:
        self._hints.forget()
        for partition in self._partitions.values():
            partition.on_failure()

    def _live_up(self) -> None:
        for partition in self._partitions.values():
            partition.on_reconnect()
        self._sweep_now.set()
        self._lookout.soon()

    def _read_up(self) -> None:
        self._sweep_now.set()
        self._lookout.soon()

    async def _look(self) -> Found:
        return await streams.discover(self._read_link, self._api, self._prefix, self._found)

    def _gone(self, number: int, name: str) -> None:
        self._partitions[number].on_gone(f"stream {name} is gone")

    def _move(self) -> None:
        log.warning("the cluster does not say which streams there are: moving to another server")
        self.live_link.suspect()
        self._read_link.suspect()

    def _adopt(self, found: Found) -> None:
        before, self._found = self._found, found
        self._lookout.known = found
        if before is None:
            self._partitions = {n: Partition(self._reads_at_once) for n in found.names}
            return
        if before.namespace != found.namespace:
            log.error("the namespace %s changed its number of partitions: all feeds end", self._prefix)
        for number, name in before.names.items():
            if found.names.get(number) == name and before.namespace == found.namespace:
                continue
            self._partitions[number].on_gone(f"stream {name} was replaced by {found.names.get(number, 'nothing')}")
            self._partitions[number] = Partition(self._reads_at_once)
        for number in found.names:
            self._partitions.setdefault(number, Partition(self._reads_at_once))

    async def _sweep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._sweep_seconds):
                    await self._sweep_now.wait()
            except TimeoutError:
                pass
            self._sweep_now.clear()
            if self._found is None or not self.ready:
                continue
            rounds = [
                sweep(self._reader, stream, self._partitions[number])
                for number, stream in self._found.names.items()
                if self._partitions[number].channels
            ]
            swept = await asyncio.gather(*rounds)  # a stream without a leader does not hold up the others
            if self._doubts.swept(sum(s.heard for s in swept), sum(s.found for s in swept)):
                log.warning("messages are stored and none comes in live: moving to another server")
                self.live_link.suspect()
