"""What is used of nats-py beyond its public interface. Where it is not as known here, the public way is taken.

Known: 2.16. Each function says so by its result instead of failing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

Received = Callable[[str, bytes | None, bytes], None]
"""Subject, raw header block, body. Must not raise."""

_log = logging.getLogger("holdfast")


def socket_of(client: Any) -> Any:
    """The TCP stream writer under a client, or None where it is not one."""
    return getattr(getattr(client, "_transport", None), "_io_writer", None)


def tap(client: Any, tapped: dict[int, Received], saw: Callable[[], None]) -> bool:
    """Take the messages of tapped subscriptions before nats-py parses their headers and queues them."""
    ordinary: Callable[..., Awaitable[None]] | None = getattr(client, "_process_msg", None)
    if ordinary is None or not hasattr(client, "_ps") or not hasattr(client, "_subs"):
        return False

    async def process(sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        received = tapped.get(sid)
        if received is None:
            await ordinary(sid, subject, reply, data, headers)
            return
        saw()
        try:
            received(bytes(subject).decode("ascii", "replace"), headers, data)
        except Exception:  # noqa: BLE001  (an exception here would end the client's read loop)
            _log.exception("a receiver failed")

    client._process_msg = process
    return True


def block_of(headers: dict[str, str] | None) -> bytes | None:
    """nats-py's parsed headers as a block again."""
    if not headers:
        return None
    status = headers.get("Status", "")
    lines = [f"NATS/1.0 {status}".rstrip(), *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
