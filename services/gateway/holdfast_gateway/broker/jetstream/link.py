"""What the broker side does with a connection: raw subscriptions, a true flush, requests with answers as values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from nats.aio.client import Client

from holdfast_gateway.broker.jetstream import natspy, slow_way
from holdfast_gateway.broker.jetstream.access import Access
from holdfast_gateway.broker.jetstream.connection import Connection
from holdfast_gateway.broker.jetstream.fastparse import FastParser, RawCallback
from holdfast_gateway.broker.jetstream.replies import Replies, Take
from holdfast_gateway.ports import SourceUnavailable

UNANSWERED = 3
"""Requests in a row without an answer, on a connection that does bring bytes, before another server is tried."""


class Subscription:
    """A subscription, for as long as its owner wants it: outlives connections and clients."""

    __slots__ = ("callback", "handle", "subject")

    def __init__(self, subject: str, callback: RawCallback) -> None:
        self.subject = subject
        self.callback = callback
        self.handle: Any = None


class Link:
    """One connection in use. Create, `connect`, use, `close`.

    `on_down` and `on_up` are called at each loss and each return of the connection, not for the first connect.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        *,
        on_down: Callable[[], None] | None = None,
        on_up: Callable[[], None] | None = None,
        fast: bool = True,
    ) -> None:
        self._access = access
        self._on_down = on_down
        self._on_up = on_up
        self._connection = Connection(access, name, self, fast=fast)
        self._parser: FastParser | None = None
        self._subs: set[Subscription] = set()
        self._replies = Replies()
        self._waiting_flush: list[asyncio.Future[None]] = []
        self._unanswered_requests = 0

    async def connect(self, patience_seconds: float) -> None:
        """See `Connection.connect`."""
        await self._connection.connect(patience_seconds)

    async def close(self) -> None:
        """End at once. Idempotent. Requests in flight raise `SourceUnavailable`."""
        await self._connection.close()

    def suspect(self) -> None:
        """Something about this connection's server seems wrong: go to another one, if there is one."""
        self._connection.suspect()

    @property
    def up(self) -> bool:
        return self._connection.up

    @property
    def reconnects(self) -> int:
        return self._connection.reconnects

    @property
    def fast(self) -> bool:
        """Whether the fast parser is in place."""
        return self._parser is not None

    @property
    def _client(self) -> Client | None:
        return self._connection.client

    # ------------------------------------------------------------------------------------------ subscriptions

    def subscribe(self, subject: str, callback: RawCallback) -> Subscription:
        """Subscribe until `unsubscribe`, across reconnects. Sent at once or with the next connection; see `flush`."""
        sub = Subscription(subject, callback)
        self._subs.add(sub)
        if self._client is not None:
            self._send_sub(self._client, sub)
        return sub

    def unsubscribe(self, sub: Subscription) -> None:
        """No call comes after it. Idempotent."""
        if sub not in self._subs:
            return
        self._subs.discard(sub)
        client, handle = self._client, sub.handle
        if client is None or handle is None:
            return
        if self._parser is not None:
            self._parser.direct.pop(b"%d" % handle._id, None)
            client._remove_sub(handle._id)
            if client.is_connected:
                natspy.write(client, b"UNSUB %d\r\n" % handle._id)
        else:
            self._connection.tasks.spawn(slow_way.unsubscribe(handle))

    async def flush(self, timeout_seconds: float = 2.0) -> None:
        """Return when the server has handled what was sent before. Raises `SourceUnavailable`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_flush.append(done)
        if len(self._waiting_flush) == 1:
            asyncio.get_running_loop().call_soon(self._send_flush)
        try:
            async with asyncio.timeout(timeout_seconds):
                await done
        except TimeoutError:
            self._unanswered()
            raise SourceUnavailable(f"{self._access.shown} did not answer within {timeout_seconds:g} s") from None

    # ------------------------------------------------------------------------------------------ requests

    async def request(
        self, subject: str, payload: bytes, *, headers: Mapping[str, str] | None = None, timeout_seconds: float = 2.0
    ) -> tuple[bytes | None, bytes]:
        """One answer: its header block and payload. Raises `SourceUnavailable`: no connection, no time, no responder.

        Cancelling it forgets the answer; the request may have been handled.
        """
        answered: asyncio.Future[tuple[bytes | None, bytes]] = asyncio.get_running_loop().create_future()

        def take(block: bytes | None, body: bytes) -> None:
            if not answered.done():
                answered.set_result((block, body))

        with self.replies(take) as inbox:
            self.publish(subject, payload, reply=inbox, headers=headers)
            block, body = await self.within(answered, timeout_seconds, subject)
        if block is not None and block.startswith(b"NATS/1.0 503"):
            raise SourceUnavailable(f"nobody answers at {subject}")
        return block, body

    def replies(self, take: Take) -> AbstractContextManager[str]:
        """A reply subject for as long as the block lasts; what arrives there goes to `take`.

        Raises `SourceUnavailable`: too many requests in flight."""
        return self._replies.open(take)

    async def within(self, answered: asyncio.Future[Any], timeout_seconds: float, what: str) -> Any:
        """Wait for an answer; a missing one counts against the connection. Raises `SourceUnavailable`."""
        reads = self._parser.reads if self._parser is not None else -1
        self._replies.waiting.add(answered)
        try:
            async with asyncio.timeout(timeout_seconds):
                value = await answered
        except TimeoutError:
            if reads == -1 or self._parser is None or self._parser.reads == reads:
                self.suspect()  # not a byte from the server in all that time
            else:
                self._unanswered()
            raise SourceUnavailable(f"no answer at {what} within {timeout_seconds:g} s") from None
        finally:
            self._replies.waiting.discard(answered)
        self._unanswered_requests = 0
        return value

    def publish(
        self, subject: str, payload: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send now, or raise `SourceUnavailable`: nothing waits for a reconnect, to be sent when it means no more."""
        client = self._client
        if client is None or not self.up:
            raise SourceUnavailable(f"not connected to {self._access.shown}")
        natspy.publish(client, subject, payload, reply, headers)

    # ------------------------------------------------------------------------------------------ the connection's owner

    async def on_client(self, client: Client, parser: FastParser | None) -> None:
        self._parser = parser
        if not self._replies.inbox:
            self._replies.inbox = client.new_inbox()
            self._subs.add(Subscription(f"{self._replies.inbox}.*", self._replies.on_reply))
        for sub in self._subs:
            sub.handle = None
        while missing := [sub for sub in self._subs if sub.handle is None]:
            for sub in missing:
                if parser is None:
                    await self._subscribe_slowly(client, sub)
                else:
                    self._send_sub(client, sub)

    def on_lost(self) -> None:
        if self._client is not None:
            natspy.cancel_pings(self._client)
        waiting, self._waiting_flush = self._waiting_flush, []
        _resolve([*waiting, *self._replies.waiting], SourceUnavailable("the connection was lost"))

    def on_down(self) -> None:
        if self._on_down is not None:
            self._on_down()

    def on_up(self) -> None:
        self._unanswered_requests = 0
        if self._on_up is not None:
            self._on_up()

    # ------------------------------------------------------------------------------------------ inside

    def _send_sub(self, client: Client, sub: Subscription) -> None:
        if self._parser is None:
            self._connection.tasks.spawn(self._subscribe_slowly(client, sub))
            return
        sub.handle = natspy.register(client, sub.subject)
        self._parser.direct[b"%d" % sub.handle._id] = sub.callback
        if client.is_connected:
            natspy.write(client, b"SUB %s  %d\r\n" % (sub.subject.encode(), sub.handle._id))

    async def _subscribe_slowly(self, client: Client, sub: Subscription) -> None:
        sub.handle = await slow_way.subscribe(client, sub.subject, sub.callback)
        if sub not in self._subs:
            await slow_way.unsubscribe(sub.handle)

    async def _flush_slowly(self, client: Client, waiting: list[asyncio.Future[None]]) -> None:
        try:
            await slow_way.flush(client)
        except SourceUnavailable as failure:
            _resolve(waiting, failure)
        else:
            _resolve(waiting, None)

    def _send_flush(self) -> None:
        waiting, self._waiting_flush = self._waiting_flush, []
        client = self._client
        if client is None or not self.up:
            _resolve(waiting, SourceUnavailable(f"not connected to {self._access.shown}"))
        elif self._parser is None:
            self._connection.tasks.spawn(self._flush_slowly(client, waiting))
        else:
            lost = SourceUnavailable("the connection was lost")
            pong = natspy.ping(client)
            pong.add_done_callback(lambda done: _resolve(waiting, lost if done.cancelled() else None))

    def _unanswered(self) -> None:
        self._unanswered_requests += 1
        if self._unanswered_requests >= UNANSWERED:
            self._unanswered_requests = 0
            self.suspect()


def _resolve(waiting: Iterable[asyncio.Future[Any]], failure: Exception | None) -> None:
    for done in waiting:
        if not done.done():
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)
