"""One session on this pod: one live subscription, however many feeds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.wire import Record, SessionKey
from holdfast_gateway.broker.feed import PAGE_RECORDS, FeedDriver
from holdfast_gateway.broker.jetstream import decode
from holdfast_gateway.broker.jetstream.link import Subscription
from holdfast_gateway.ports import Page

if TYPE_CHECKING:
    from holdfast_gateway.broker.jetstream.source import JetStreamSource

QUIET_SECONDS = 0.2
"""Failures of one stream within this time are told as one."""


class Channel:
    """Shared by the feeds of one session. `active` and `swept` belong to the tail sweeper."""

    __slots__ = (
        "active",
        "feeds",
        "key",
        "live_subject",
        "partition",
        "source",
        "stored_subject",
        "subscription",
        "swept",
    )

    def __init__(self, source: JetStreamSource, key: SessionKey, partition: int) -> None:
        self.source = source
        self.key = key
        self.partition = partition
        self.stored_subject = source.namespace.stored(key)
        self.live_subject = source.namespace.live(key)
        self.feeds: list[FeedDriver] = []
        self.subscription: Subscription | None = None
        self.active = False
        self.swept = False

    @property
    def last(self) -> int:
        """Up to where all feeds have delivered."""
        return min([feed.order.last for feed in self.feeds], default=0)

    @property
    def flowing(self) -> bool:
        return all(feed.order.flowing for feed in self.feeds)

    def on_live(self, subject: bytes, block: bytes | None, body: bytes) -> None:
        record = decode.live(block, body)
        if record is None:
            return
        self.active = True
        feeds = self.feeds
        if len(feeds) == 1:
            feeds[0].on_live(record, len(body))
        else:
            for feed in list(feeds):
                feed.on_live(record, len(body))

    def on_newest(self, sequence: int) -> None:
        for feed in list(self.feeds):
            feed.on_newest(sequence)

    def on_trouble(self) -> None:
        for feed in list(self.feeds):
            feed.on_trouble(recheck=False)

    def on_reconnect(self) -> None:
        """What came meanwhile is only in the log. Feeds in order are looked at by the next tail check, one request for
        hundreds of them; the others were reading anyway, and try again at once."""
        self.active = False
        for feed in list(self.feeds):
            feed.on_trouble(recheck=not feed.order.flowing)

    def on_gone(self, reason: str) -> None:
        for feed in list(self.feeds):
            feed.on_gone(reason)


class ChannelInput:
    """What one feed asks for, answered for its session's channel."""

    __slots__ = ("channel", "driver")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.driver: FeedDriver | None = None

    async def subscribe(self) -> None:
        channel = self.channel
        link = channel.source.live_link
        if channel.subscription is None:
            channel.subscription = link.subscribe(channel.live_subject, channel.on_live)
        await link.flush()

    async def page(self, start: int) -> Page:
        return await self.channel.source.read(self.channel.key, start, PAGE_RECORDS)

    async def beyond(self, last: int) -> tuple[bool, Record | None]:
        return await self.channel.source.beyond(self.channel.key, last)

    def unsubscribe(self) -> None:
        """The channel goes with its last feed, see `JetStreamSource`."""


class Partition:
    """What is kept per stream: its channels by stored subject, how many may read at once, how far it was swept."""

    __slots__ = ("_quiet_until", "behind_since", "channels", "highest", "in_touch_at", "reading", "swept_to")

    def __init__(self, reads_at_once: int) -> None:
        self.channels: dict[str, Channel] = {}
        self.reading = asyncio.Semaphore(reads_at_once)
        self.swept_to: int | None = None
        self.highest = 0
        self.behind_since: float | None = None
        self.in_touch_at: float | None = None
        self._quiet_until = 0.0

    def on_failure(self) -> None:
        """A request on this stream failed: tell all its sessions. Once in a while, since a thousand feeds that fail
        together would each tell the thousand."""
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            for channel in list(self.channels.values()):
                channel.on_trouble()

    def on_reconnect(self) -> None:
        """The live connection is back."""
        for channel in list(self.channels.values()):
            channel.on_reconnect()

    def on_gone(self, reason: str) -> None:
        for channel in list(self.channels.values()):
            channel.on_gone(reason)
