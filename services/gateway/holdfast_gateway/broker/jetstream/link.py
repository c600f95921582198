"""One connection to the cluster, kept alive: connect loop, raw subscriptions, requests with answers as values.

nats-py is the client underneath. What it does not do, this does: a first connect that ends with a clear error; a dead
read loop noticed (nats-py stays "connected" for ever); a closed client replaced; nothing published late after a
reconnect; a flush that really comes behind the subscriptions (nats-py's PING overtakes what is still queued).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from holdfast_gateway.broker.jetstream import fastparse
from holdfast_gateway.broker.jetstream.fastparse import FastParser, RawCallback
from holdfast_gateway.broker.tasks import Tasks
from holdfast_gateway.ports import SourceUnavailable

log = logging.getLogger(__name__)

PING_SECONDS = 5
WATCH_SECONDS = 0.5
CONNECT_SECONDS = 2
RECONNECT_SECONDS = 0.2
MAX_REQUESTS = 4096
"""Requests in flight on one connection; more are refused as unavailable."""

NO_RESPONDERS = 503


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. `options` go to nats-py's `connect` (`user_credentials`, `tls`, `inbox_prefix`, ...)."""

    servers: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The servers without passwords, for messages."""
        return ", ".join(_without_secret(s) for s in self.servers)


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
        self._replies: dict[bytes, Callable[[bytes | None, bytes], None]] = {}
        self._inbox = ""
        self._token = 0
        self._waiting_flush: list[asyncio.Future[None]] = []
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._last_error = "no answer"
        self._up = False
        self._closed = False
        self._silent_requests = 0
        self.reconnects = 0

    # ------------------------------------------------------------------------------------------ life

    async def connect(self, patience_seconds: float) -> None:
        """Connect for the first time. Raises `SourceUnavailable` naming the servers, after `patience_seconds`."""
        try:
            async with asyncio.timeout(patience_seconds):
                await self._dial()
        except TimeoutError:
            raise SourceUnavailable(
                f"no NATS server reachable at {self._access.shown} within {patience_seconds:g} s: {self._last_error}"
            ) from None
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
            self._tasks.spawn(_unsubscribe(handle))

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

        async with self.replies(take) as inbox:
            self.publish(subject, payload, reply=inbox, headers=headers)
            block, body = await self.within(answered, timeout_seconds, subject)
        if block is not None and block.startswith(b"NATS/1.0 503"):
            raise SourceUnavailable(f"nobody answers at {subject}")
        return block, body

    @contextlib.asynccontextmanager
    async def replies(self, take: Callable[[bytes | None, bytes], None]) -> Any:
        """A reply subject for as long as the block lasts; `take` gets what arrives there."""
        if len(self._replies) >= MAX_REQUESTS:
            raise SourceUnavailable("too many requests in flight")
        self._token += 1
        token = b"%d" % self._token
        self._replies[token] = take
        try:
            yield f"{self._inbox}.{self._token}"
        finally:
            del self._replies[token]

    async def within(self, answered: asyncio.Future[Any], timeout_seconds: float, what: str) -> Any:
        """Wait for an answer; a missing one counts against the connection. Raises `SourceUnavailable`."""
        reads = self._parser.reads if self._parser is not None else -1
        self._in_flight.add(answered)
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
            self._in_flight.discard(answered)
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
        if not self._inbox:
            self._inbox = client.new_inbox()
            self._subs.add(Subscription(f"{self._inbox}.*", self._on_reply))
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
        callback = sub.callback

        async def pass_on(message: Msg) -> None:
            callback(message.subject.encode(), block_of(message.headers), message.data)

        sub.handle = await client.subscribe(sub.subject, cb=pass_on)
        if sub not in self._subs:
            await _unsubscribe(sub.handle)

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
            self._tasks.spawn(_flush_slowly(client, waiting))
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
        _resolve(list(self._in_flight), SourceUnavailable("the connection was lost"))

    def _on_reply(self, subject: bytes, block: bytes | None, payload: bytes) -> None:
        take = self._replies.get(subject[len(self._inbox) + 1 :])
        if take is not None:
            take(block, payload)

    def _unanswered(self) -> None:
        self._silent_requests += 1
        if self._silent_requests >= 3:
            self._silent_requests = 0
            self.suspect()

    def _report(self, failure: Exception) -> None:
        log.error("%s: a callback failed", self._name, exc_info=failure)

    async def _on_error(self, failure: Exception) -> None:
        self._last_error = str(failure) or type(failure).__name__
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


def block_of(headers: Mapping[str, str] | None) -> bytes | None:
    """A header block again, of what nats-py made of it."""
    if not headers:
        return None
    status = headers.get("Status")
    inline = f" {status}" if status is not None and "Nats-Sequence" not in headers else ""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0{inline}\r\n{lines}\r\n".encode()


def access(servers: Sequence[str], options: Mapping[str, Any]) -> Access:
    """Raises `ValueError` if there is no server."""
    if not servers:
        raise ValueError("at least one NATS server is needed")
    return Access(tuple(servers), dict(options))


def _resolve(waiting: Iterable[asyncio.Future[Any]], failure: Exception | None) -> None:
    for done in waiting:
        if not done.done():
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)


async def _flush_slowly(client: Client, waiting: list[asyncio.Future[None]]) -> None:
    try:
        await client.flush(2)  # its PING may overtake a queued SUB,
        await client.flush(2)  # so only the second one is certainly behind it
    except (nats.errors.Error, OSError) as failure:
        _resolve(waiting, SourceUnavailable(str(failure)))
    else:
        _resolve(waiting, None)


async def _unsubscribe(handle: Any) -> None:
    with contextlib.suppress(nats.errors.Error, OSError):
        await handle.unsubscribe()


async def _shut(client: Client) -> None:
    """Close a client whatever its state. nats-py's `close` flushes first, which may block or fail on a dead socket."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, AttributeError):
        async with asyncio.timeout(1.0):
            await client.close()


def _without_secret(server: str) -> str:
    parts = urlsplit(server)
    if parts.username is None and parts.password is None:
        return server
    return urlunsplit(parts._replace(netloc=f"...@{parts.netloc.rpartition('@')[2]}"))
