"""One connection to the cluster, kept alive: connect loop, raw subscriptions, requests with answers as values.

nats-py is the client underneath. What it does not do, this does: a first connect that ends with a clear error; a dead
read loop noticed (nats-py stays "connected" for ever); a closed client replaced; nothing published late after a
reconnect; a flush that really comes behind the subscriptions (nats-py's PING overtakes what is still queued).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import nats.errors
from nats.aio.client import Client

from holdfast_gateway.broker.jetstream import fastparse, slow_way
from holdfast_gateway.broker.jetstream.access import Access
from holdfast_gateway.broker.jetstream.fastparse import FastParser, RawCallback
from holdfast_gateway.broker.jetstream.replies import Replies, Take
from holdfast_gateway.broker.tasks import Tasks
from holdfast_gateway.ports import SourceUnavailable

log = logging.getLogger(__name__)

PING_SECONDS = 5
WATCH_SECONDS = 0.5
CONNECT_SECONDS = 2
RECONNECT_SECONDS = 0.2


class Subscription:
    """A subscription, for as long as its owner wants it: outlives connections and clients."""

    __slots__ = ("callback", "handle", "subject")

    def __init__(self, subject: str, callback: RawCallback) -> None:
        self.subject = subject
        self.callback = callback
        self.handle: Any = None


class Link:
    """One connection. Create, `connect`, use, `close`.

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
        self._name = name
        self._on_down = on_down
        self._on_up = on_up
        self._want_fast = fast
        self._tasks = Tasks(name)
        self._client: Client | None = None
        self._parser: FastParser | None = None
        self._subs: set[Subscription] = set()
        self._replies = Replies()
        self._waiting_flush: list[asyncio.Future[None]] = []
        self._last_error = "no answer"
        self._up = False
        self._first = True
        self._closed = False
        self._silent_requests = 0
        self.reconnects = 0

    # ------------------------------------------------------------------------------------------ life

    async def connect(self, patience_seconds: float) -> None:
        """Connect for the first time.

        Raises `SourceUnavailable` naming the servers: after `patience_seconds`, or at once for refused credentials.
        """
        try:
            async with asyncio.timeout(patience_seconds):
                await self._dial()
        except TimeoutError:
            raise SourceUnavailable(
                f"no NATS server reachable at {self._access.shown} within {patience_seconds:g} s: {self._last_error}"
            ) from None
        self._first = False
        self._tasks.spawn(self._watch())

    async def close(self) -> None:
        """End at once. Idempotent. Requests in flight raise `SourceUnavailable`."""
        if self._closed:
            return
        self._closed = True
        self._up = False
        self._fail_waiting()
        await self._tasks.close()
        await self._drop_client()

    @property
    def up(self) -> bool:
        client = self._client  # it knows of a loss a little before it tells
        return self._up and not self._closed and client is not None and client.is_connected

    @property
    def fast(self) -> bool:
        """Whether the fast parser is in place."""
        return self._parser is not None

    @property
    def server_info(self) -> Mapping[str, Any]:
        return {} if self._client is None else self._client._server_info

    def suspect(self) -> None:
        """Something about this connection's server seems wrong: go to another one, if there is one."""
        if self.up and self._client is not None:
            self._tasks.spawn(self._reconnect(self._client))

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
                self._write(client, b"UNSUB %d\r\n" % handle._id)
        else:
            self._tasks.spawn(slow_way.unsubscribe(handle))

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
        self._silent_requests = 0
        return value

    def publish(
        self, subject: str, payload: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send now, or raise `SourceUnavailable`: nothing waits for a reconnect, to be sent when it means no more."""
        client = self._client
        if client is None or not self.up:
            raise SourceUnavailable(f"not connected to {self._access.shown}")
        if headers is None:
            command = f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n"
        else:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            block = f"NATS/1.0\r\n{lines}\r\n".encode()
            size = len(block) + len(payload)
            command = b"HPUB %s %d %d\r\n%b%b\r\n" % (f"{subject} {reply}".encode(), len(block), size, block, payload)
        self._write(client, command)

    # ------------------------------------------------------------------------------------------ inside

    async def _dial(self) -> None:
        """Connect a new client, for as long as it takes. Cancelling it leaves no client behind."""
        client = Client()
        difference = fastparse.knows(client) if self._want_fast else "switched off"
        if difference is None:
            self._parser = fastparse.install(client, self._report)
        else:
            self._parser = None
            if self._want_fast:
                log.warning("nats-py is not the one the fast parser knows (%s): ingest takes the slow way", difference)
        try:
            await client.connect(
                servers=list(self._access.servers),
                name=self._name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_disconnected,
                lame_duck_mode_cb=self._on_lame_duck,
                connect_timeout=CONNECT_SECONDS,
                reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type]  # it sleeps that long, any number does
                max_reconnect_attempts=-1,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=2,
                **self._access.options,
            )
        except BaseException:
            await _shut(client)
            raise
        self._client = client
        if not self._replies.inbox:
            self._replies.inbox = client.new_inbox()
            self._subs.add(Subscription(f"{self._replies.inbox}.*", self._replies.on_reply))
        for sub in self._subs:
            if self._parser is None:
                await self._subscribe_slowly(client, sub)
            else:
                self._send_sub(client, sub)
        self._up = True

    async def _drop_client(self) -> None:
        client, self._client = self._client, None
        for sub in self._subs:
            sub.handle = None
        if client is not None:
            await _shut(client)

    def _send_sub(self, client: Client, sub: Subscription) -> None:
        if self._parser is not None:
            sub.handle = fastparse.register(client, sub.subject)
            self._parser.direct[b"%d" % sub.handle._id] = sub.callback
            if client.is_connected:
                self._write(client, b"SUB %s  %d\r\n" % (sub.subject.encode(), sub.handle._id))
        else:
            self._tasks.spawn(self._subscribe_slowly(client, sub))

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

    def _write(self, client: Client, command: bytes) -> None:
        client._pending.append(command)
        client._pending_data_size += len(command)
        queue = client._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    def _send_flush(self) -> None:
        waiting, self._waiting_flush = self._waiting_flush, []
        client = self._client
        if client is None or not client.is_connected or client._transport is None:
            _resolve(waiting, SourceUnavailable(f"not connected to {self._access.shown}"))
            return
        if self._parser is None:
            self._tasks.spawn(self._flush_slowly(client, waiting))
            return
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        pong.add_done_callback(
            lambda done: _resolve(
                waiting, None if not done.cancelled() else SourceUnavailable("the connection was lost")
            )
        )
        if client._pending:  # in front of the PING, in one go with it
            client._transport.writelines(client._pending[:])
            client._pending = []
            client._pending_data_size = 0
        client._pongs.append(pong)
        client._transport.write(b"PING\r\n")

    def _fail_waiting(self) -> None:
        if self._client is not None:
            for pong in self._client._pongs:
                if not pong.done():
                    pong.cancel()
            self._client._pongs = []
        waiting, self._waiting_flush = self._waiting_flush, []
        _resolve(waiting, SourceUnavailable("the connection was lost"))
        _resolve(list(self._replies.waiting), SourceUnavailable("the connection was lost"))

    def _unanswered(self) -> None:
        self._silent_requests += 1
        if self._silent_requests >= 3:
            self._silent_requests = 0
            self.suspect()

    def _report(self, failure: Exception) -> None:
        log.error("%s: a callback failed", self._name, exc_info=failure)

    async def _on_error(self, failure: Exception) -> None:
        self._last_error = str(failure) or type(failure).__name__
        if self._first and "authorization" in self._last_error.lower():
            # Out of nats-py's connect, which would try again for ever what will not be believed.
            raise SourceUnavailable(f"{self._access.shown} refused the credentials: {self._last_error}")
        log.debug("%s: %s", self._name, self._last_error)

    async def _on_disconnected(self) -> None:
        client = self._client
        if client is not None:
            client._pending = []  # what was not sent is not to be sent later
            client._pending_data_size = 0
        self._went_down()

    async def _on_reconnected(self) -> None:
        self._came_up()

    async def _on_lame_duck(self) -> None:
        log.info("%s: the server is about to stop, moving on", self._name)
        self.suspect()

    def _went_down(self) -> None:
        self._fail_waiting()
        if self._up and not self._closed:
            self._up = False
            log.warning("%s: connection lost: %s", self._name, self._last_error)
            if self._on_down is not None:
                self._on_down()

    def _came_up(self) -> None:
        if not self._up and not self._closed:
            self._up = True
            self.reconnects += 1
            self._silent_requests = 0
            log.warning("%s: connected again", self._name)
            if self._on_up is not None:
                self._on_up()

    async def _watch(self) -> None:
        """See to it that there is a living client: nats-py's own tasks end without a word."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            client = self._client
            if client is None or client.is_closed:
                self._went_down()
                await self._drop_client()
                await self._dial()
                self._up = False
                self._came_up()
            elif client.is_connected and (client._reading_task is None or client._reading_task.done()):
                self._last_error = "nats-py's read loop ended"
                await self._reconnect(client)
            elif client.is_reconnecting and (client._reconnection_task is None or client._reconnection_task.done()):
                self._last_error = "nats-py's reconnect ended"
                self._went_down()
                await self._drop_client()

    async def _reconnect(self, client: Client) -> None:
        if client is self._client and client.is_connected:
            await client.force_reconnect()


def _resolve(waiting: Iterable[asyncio.Future[Any]], failure: Exception | None) -> None:
    for done in waiting:
        if not done.done():
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)


async def _shut(client: Client) -> None:
    """Close a client whatever its state. nats-py's `close` flushes first, which may block or fail on a dead socket."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, AttributeError):
        async with asyncio.timeout(1.0):
            await client.close()
