"""nats-py's own way to subscribe and flush: taken where its internals are not the ones the fast way knows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from holdfast_gateway.broker.jetstream.fastparse import RawCallback
from holdfast_gateway.ports import SourceUnavailable


async def subscribe(client: Client, subject: str, callback: RawCallback) -> Any:
    """A subscription with a task and a queue of its own; its header blocks are made anew."""

    async def pass_on(message: Msg) -> None:
        callback(message.subject.encode(), block_of(message.headers), message.data)

    return await client.subscribe(subject, cb=pass_on)


async def unsubscribe(handle: Any) -> None:
    with contextlib.suppress(nats.errors.Error, OSError):
        await handle.unsubscribe()


async def flush(client: Client) -> None:
    """Return when the server has handled what was sent before. Raises `SourceUnavailable`."""
    try:
        await client.flush(2)  # its PING may overtake a queued SUB,
        await client.flush(2)  # so only the second one is certainly behind it
    except (nats.errors.Error, OSError) as failure:
        raise SourceUnavailable(str(failure)) from None


def block_of(headers: Mapping[str, str] | None) -> bytes | None:
    """A header block again, of what nats-py made of it."""
    if not headers:
        return None
    status = headers.get("Status")
    inline = f" {status}" if status is not None and "Nats-Sequence" not in headers else ""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0{inline}\r\n{lines}\r\n".encode()
