"""All that is touched of nats-py's inside, in one place.

`knows` checks that the parts are the ones this was written for; where they are not, the link says so once and takes
nats-py's own, slower way (`slow_way`).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from holdfast_gateway.broker.jetstream.fastparse import FastParser


class _Nowhere:
    """Stands for the queue of a subscription whose messages never come that way."""

    def put_nowait(self, message: object) -> None:
        """A message between the subscription's end and the server's notice of it."""


_NOWHERE: Any = _Nowhere()


def knows(client: Any) -> str | None:
    """None if nats-py's internals are the ones this was written for, else what is different."""
    wanted: dict[str, Any] = {"_subs": dict, "_sid": int, "_pending": list, "_pending_data_size": int, "_pongs": list}
    for name, kind in wanted.items():
        if not isinstance(getattr(client, name, None), kind):
            return f"Client.{name} is not a {kind.__name__}"
    if type(getattr(client, "_ps", None)) is not Parser:
        return "Client._ps is not nats-py's own parser"
    methods = {
        "_process_msg": ["self", "sid", "subject", "reply", "data", "headers"],
        "_process_ping": ["self"],
        "_process_pong": ["self"],
        "_process_err": ["self", "err_msg"],
        "_process_info": ["self", "info", "initial_connection"],
        "_send_subscribe": ["self", "sub"],
        "_read_loop": ["self"],
        "force_reconnect": ["self"],
    }
    for name, parameters in methods.items():
        method = getattr(Client, name, None)
        if not inspect.iscoroutinefunction(method) or list(inspect.signature(method).parameters) != parameters:
            return f"Client.{name} has another signature"
    if "_ps" not in Client._read_loop.__code__.co_names:
        return "Client._read_loop does not use Client._ps"
    if list(inspect.signature(Parser.parse).parameters) != ["self", "data"]:
        return "Parser.parse has another signature"
    if list(inspect.signature(Subscription.__init__).parameters)[:4] != ["self", "conn", "id", "subject"]:
        return "Subscription has another signature"
    return None


def install(client: Any, on_error: Callable[[Exception], None]) -> FastParser:
    """Put the fast parser in place, before the client connects. `knows` has to be None."""
    parser = FastParser(client, on_error)
    client._ps = parser
    return parser


def register(client: Any, subject: str) -> Any:
    """A subscription that nats-py repeats after a reconnect, but for which it runs no task and keeps no queue.

    The SUB itself has not been sent.
    """
    client._sid += 1
    subscription = Subscription(client, client._sid, subject)
    subscription._pending_queue = _NOWHERE  # its own is empty and costs 3 KiB
    client._subs[client._sid] = subscription
    return subscription


def write(client: Client, command: bytes) -> None:
    """Send with whatever else is waiting, in order. Never blocks: the flusher waits for the socket."""
    client._pending.append(command)
    client._pending_data_size += len(command)
    queue = client._flush_queue
    if queue is not None and queue.empty():
        queue.put_nowait(asyncio.get_running_loop().create_future())


def publish(client: Client, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
    """Send a message. nats-py's own `publish` keeps it for after a reconnect and swallows cancellation."""
    if headers is None:
        write(client, f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")
        return
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    size = len(block) + len(payload)
    write(client, b"HPUB %s %d %d\r\n%b%b\r\n" % (f"{subject} {reply}".encode(), len(block), size, block, payload))


def ping(client: Client) -> asyncio.Future[bool]:
    """Done when the server has handled all that was sent before. nats-py's own PING overtakes what is still queued."""
    pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    assert client._transport is not None
    if client._pending:
        client._transport.writelines(client._pending[:])
        drop_pending(client)
    client._pongs.append(pong)
    client._transport.write(b"PING\r\n")
    return pong


def drop_pending(client: Client) -> None:
    """Forget what has not been sent: after a reconnect it would come late, and nobody would know of it."""
    client._pending = []
    client._pending_data_size = 0


def cancel_pings(client: Client) -> None:
    """Their answers are lost with the connection."""
    for pong in client._pongs:
        if not pong.done():
            pong.cancel()
    client._pongs = []


def ended(client: Client) -> str | None:
    """Which of the tasks that keep a client alive has ended without a word; nats-py does not watch them."""
    if client.is_connected:
        for name, task in (("read loop", client._reading_task), ("flusher", client._flusher_task)):
            if task is None or task.done():
                return name
    elif client.is_reconnecting and (client._reconnection_task is None or client._reconnection_task.done()):
        return "reconnect"
    return None


async def close(client: Client) -> None:
    """Close a client whatever its state. nats-py's `close` flushes first, which may block or fail on a dead socket."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, AttributeError):
        async with asyncio.timeout(1.0):
            await client.close()
