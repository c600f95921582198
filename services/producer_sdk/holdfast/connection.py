"""One NATS connection that comes back by itself. The only file that imports nats.

What nats-py 2.16 does that we do not want, and what is done here instead:

* A dead link is noticed after minutes: pings every 5 s, and a probe whenever requests stay unanswered.
* Its read loop can die while `is_connected` stays true: the same probe finds that, and forces a reconnect.
* It closes for good on some server errors: then a new client takes over, with the same subscriptions.
* What is published while disconnected is buffered and sent late: the buffer is off, the caller is told at once.
* Its first connect retries for two minutes and logs tracebacks: ours is bounded and keeps the last reason.
* Each message costs a header parse, a queue and a task switch: acks and pages are tapped before that, where the
  client's internals are the ones we know; where not, its public way is used, with a warning.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client, Server
from nats.errors import Error as NatsError

from holdfast.errors import BrokerUnavailable
from holdfast.natspy import Received, block_of, socket_of, tap
from holdfast.owned import OwnedTasks
from holdfast.wire.headers import parse_block

PING_SECONDS: Final = 5
PROBE_SECONDS: Final = 2.0
MAX_UNSENT_BYTES: Final = 8 * 1024 * 1024
"""What may wait in the socket's buffer. Above it a send says no, and the writer's backoff takes over."""

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. `credentials` is the path of a NATS credentials file."""

    credentials: str | None = None
    tls: ssl.SSLContext | None = None
    inbox_prefix: str = "_INBOX"


class Subscription:
    """One subject, carried over to whatever client is current."""

    __slots__ = ("_connection", "received", "subject")

    def __init__(self, connection: Connection, subject: str, received: Received) -> None:
        self._connection = connection
        self.subject = subject
        self.received = received

    async def stop(self) -> None:
        """End it. Safe to call twice."""
        await self._connection.unsubscribe(self)


class Connection:
    """See above. `on_up` and `on_down` are called on every change, `on_up` also for the first."""

    def __init__(self, servers: Sequence[str], access: Access, name: str) -> None:
        self.servers = tuple(servers)
        self.on_up: Callable[[], None] = _nothing
        self.on_down: Callable[[], None] = _nothing
        self.last_error = ""
        self.received_at = 0.0
        self._access = access
        self._name = name
        self._client = Client()
        self._tapped: dict[int, Received] = {}
        self._subscriptions: dict[Subscription, Any] = {}
        self._out: list[bytes] = []
        self._slow: list[tuple[str, str, bytes, bytes]] = []
        self._fast = True
        self._closing = False
        self._probing = False
        self._tasks = OwnedTasks()

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def max_payload_bytes(self) -> int:
        return int(self._client.max_payload)

    def new_inbox(self) -> str:
        return str(self._client.new_inbox())

    # ---------------------------------------------------------------------------------------- coming and going

    async def open(self, timeout_seconds: float) -> None:
        """Connect within a bound. Raises `BrokerUnavailable` with the last reason."""
        client = Client()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._connect(client)
        except (TimeoutError, NatsError, OSError, ValueError) as error:
            await _close_quietly(client)
            why = self.last_error or str(error) or "no answer"
            raise BrokerUnavailable(self.servers, why) from None
        except BaseException:
            await _close_quietly(client)
            raise
        self._use(client)

    async def _connect(self, client: Client) -> None:
        refused = asyncio.get_running_loop().create_future()

        async def error(e: Exception) -> None:
            if refused.done():  # the reset that follows a refusal says less than the refusal
                return
            self.last_error = str(e) or type(e).__name__
            if "authorization" in self.last_error.lower():
                refused.set_result(None)

        async def closed() -> None:
            if client is self._client:  # not one that never came to be used
                self._closed()

        options: dict[str, Any] = {
            "servers": list(self.servers),
            "name": self._name,
            "error_cb": error,
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
            "closed_cb": closed,
            "lame_duck_mode_cb": self._lame_duck,
            "reconnect_to_server_handler": self._choose,
            "connect_timeout": 2,
            "reconnect_time_wait": 0.2,
            "max_reconnect_attempts": -1,
            "ping_interval": PING_SECONDS,
            "max_outstanding_pings": 2,
            "pending_size": 0,
            "inbox_prefix": self._access.inbox_prefix,
        }
        if self._access.credentials is not None:
            options["user_credentials"] = self._access.credentials
        if self._access.tls is not None:
            options["tls"] = self._access.tls
        connecting = self._tasks.spawn(client.connect(**options), "holdfast-connect", awaited=True)
        try:
            await asyncio.wait({connecting, refused}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise OSError(self.last_error)
            connecting.result()
        finally:
            connecting.cancel()

    def _use(self, client: Client) -> None:
        self._client = client
        self._fast = tap(client, self._tapped, self._saw) and socket_of(client) is not None
        if not self._fast:
            _log.warning("nats-py's internals are not the ones known here: using its slower public interface")

    def _saw(self) -> None:
        self.received_at = time.monotonic()

    def _choose(self, pool: list[Server], info: dict[str, Any]) -> tuple[Server, float]:
        return random.choice(pool), random.uniform(0.02, 0.25)

    async def _disconnected(self) -> None:
        self._out.clear()
        self.on_down()

    async def _reconnected(self) -> None:
        self.on_up()

    async def _lame_duck(self) -> None:
        """The server is about to go: leave before it does, not all at once."""
        if len(self._client.server_pool) > 1:
            self._tasks.spawn(self._leave(), "holdfast-lame-duck")

    async def _leave(self) -> None:
        await asyncio.sleep(random.uniform(0.0, 1.0))
        await self._client.force_reconnect()

    def _closed(self) -> None:
        if not self._closing:
            self.on_down()
            self._tasks.spawn(self._replace(), "holdfast-reconnect")

    async def _replace(self) -> None:
        """The client gave up for good; we do not."""
        while not self._closing:
            try:
                await self.open(30.0)
            except BrokerUnavailable:
                await asyncio.sleep(random.uniform(0.5, 2.0))
                continue
            self._tapped.clear()
            for subscription in list(self._subscriptions):
                await self._subscribe(subscription)
            self.on_up()
            return

    def suspect(self) -> None:
        """Requests stay unanswered: is anybody there?"""
        if not self._probing and not self._closing and self.connected:
            self._probing = True
            self._tasks.spawn(self._probe(), "holdfast-probe")

    async def _probe(self) -> None:
        client = self._client
        try:
            reading: asyncio.Task[None] | None = getattr(client, "_reading_task", None)
            if reading is not None and reading.done():  # nats-py's flush then says that all is well
                raise OSError("nobody reads the connection")
            await client.flush(timeout=PROBE_SECONDS)  # type: ignore[arg-type]
        except (NatsError, OSError, TimeoutError) as error:
            self.last_error = str(error) or "no answer to a ping"
            if not self._closing:
                await client.force_reconnect()
        finally:
            self._probing = False

    async def close(self) -> None:
        """Send what is queued and let go. Safe to call twice. Bounded: 2 s."""
        if self._closing:
            return
        self._closing = True
        self._flush()
        await self._tasks.close()
        await _close_quietly(self._client)

    # ------------------------------------------------------------------------------------------- in and out

    async def subscribe(self, subject: str, received: Received) -> Subscription:
        """Have `received` called for each message. Outlives reconnects and replaced clients."""
        subscription = Subscription(self, subject, received)
        self._subscriptions[subscription] = None
        await self._subscribe(subscription)
        return subscription

    async def _subscribe(self, subscription: Subscription) -> None:
        received = subscription.received

        async def slowly(message: Any) -> None:
            self._saw()
            received(message.subject, block_of(message.headers), message.data)

        try:
            taken = await self._client.subscribe(subscription.subject, cb=slowly)
        except NatsError as error:  # closed just now: `_replace` subscribes again
            self.last_error = str(error)
            return
        self._subscriptions[subscription] = taken
        if self._fast:
            self._tapped[taken._id] = received
        try:  # what we send next must not overtake the subscription: it takes another way to the socket
            await self._client.flush(timeout=PROBE_SECONDS)  # type: ignore[arg-type]
        except (NatsError, OSError, AssertionError) as error:
            self.last_error = str(error)

    async def unsubscribe(self, subscription: Subscription) -> None:
        taken = self._subscriptions.pop(subscription, None)
        if taken is not None:
            self._tapped.pop(getattr(taken, "_id", 0), None)
            try:
                await taken.unsubscribe()
            except (NatsError, OSError):
                pass  # the connection is gone, and the subscription with it

    def send(self, subject: str, reply: str, headers: bytes, body: bytes) -> bool:
        """Publish, with the rest of this turn of the loop. False: not connected or too far behind; nothing was sent."""
        if not self.connected:
            return False
        if not self._fast:
            if not self._slow:
                self._tasks.spawn(self._send_slowly(), "holdfast-send")
            self._slow.append((subject, reply, headers, body))
            return True
        socket = socket_of(self._client)
        if socket is None or socket.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            return False
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        to = f"{subject} {reply}" if reply else subject
        sizes = f"{len(headers)} {len(headers) + len(body)}" if headers else f"{len(body)}"
        head = f"{'HPUB' if headers else 'PUB'} {to} {sizes}\r\n"
        self._out.append(b"%b%b%b\r\n" % (head.encode(), headers, body))
        return True

    def _flush(self) -> None:
        out, self._out = self._out, []
        socket = socket_of(self._client)
        if out and socket is not None and self.connected:
            socket.write(b"".join(out))

    async def _send_slowly(self) -> None:
        while self._slow:
            waiting, self._slow = self._slow, []
            for subject, reply, headers, body in waiting:
                try:
                    fields = parse_block(headers)[1] if headers else None
                    await self._client.publish(subject, body, reply, fields)
                except (NatsError, OSError) as error:
                    self.last_error = str(error)


def _nothing() -> None:
    return None


async def _close_quietly(client: Client) -> None:
    try:
        async with asyncio.timeout(2.0):
            await client.close()
    except (NatsError, OSError, TimeoutError, AssertionError):
        pass  # it was never connected, or is past caring
