"""A keep-alive HTTP/1.1 connection that posts one body after the other: the least a Python publisher can cost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"


class Poster(asyncio.Protocol):
    """One connection, one request in flight, the rest waits here in order.

    A connection that closes between two requests (a server's keep-alive limit) is opened again; one that closes
    during a request fails the run.
    """

    def __init__(self, done: Callable[[int], None]) -> None:
        """``done(status)`` is called for every answered request."""
        self._done = done
        self._waiting: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._buffer = b""
        self.broken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that nothing goes out any more."""
        self._transport = None
        self.broken = True

    def post(self, request: bytes) -> None:
        """Send a complete request after those before it."""
        self._waiting.append(request)
        if not self._busy:
            self._next()

    @property
    def unsent(self) -> int:
        """Return how many requests wait or are in flight."""
        return len(self._waiting) + self._busy

    def data_received(self, data: bytes) -> None:
        """Read one answer: by its length, or chunked."""
        self._buffer += data
        head, mark, rest = self._buffer.partition(_HEAD_END)
        if not mark:
            return
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            if not rest.endswith(b"0\r\n\r\n"):
                return
        elif (at := lower.find(b"\r\ncontent-length:")) >= 0:
            length = int(lower[at + 17 :].partition(b"\r\n")[0])
            if len(rest) < length:
                return
        self._buffer = b""
        self._busy = False
        self._done(int(head[9:12]))
        self._next()

    def _next(self) -> None:
        if self._waiting and self._transport is not None:
            self._busy = True
            self._transport.write(self._waiting.popleft())

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    """Return a complete HTTP/1.1 request with a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
