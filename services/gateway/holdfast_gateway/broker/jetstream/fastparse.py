"""A drop-in for nats-py's parser: messages of registered subscriptions go straight to a synchronous callback.

nats-py spends 17 us on a republished message (headers into a dict, a queue, a task per subscription); this way costs
2 us and leaves the header block as it is. All other protocol goes through nats-py's own code.

It replaces a private part of nats-py; whether that is the one it was written for, see `natspy.knows`.

Where it differs from nats-py, on purpose: whatever goes wrong while a line is handled ends in `ProtocolError`, which
makes nats-py reconnect. Any other exception would end its read loop and leave `is_connected` true for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

RawCallback = Callable[[bytes, "bytes | None", bytes], None]
"""Called with subject, header block as received (None: no headers) and payload. Must not block."""

MAX_LINE_BYTES = 1024 * 1024
"""A control line (INFO lists every server of a cluster) above this is no NATS protocol."""

_H = b"H"[0]
_MESSAGES = frozenset(b"HM")


class FastParser(Parser):
    """Parses what the server sends. One per connection; survives reconnects (`reset`).

    `direct` maps a subscription id, as it stands on the wire, to its callback. A callback that raises is reported to
    `on_error` and harms nothing else.
    """

    def __init__(self, client: Any, on_error: Callable[[Exception], None]) -> None:
        self.direct: dict[bytes, RawCallback] = {}
        self.reads = 0
        """How often bytes came in: a sign of life."""
        self._on_error = on_error
        self._life = 0
        super().__init__(client)

    def reset(self) -> None:
        """Forget a half-read message: the next bytes come from another connection. Also called while `parse` waits."""
        super().reset()
        self._rest = b""
        self._life += 1

    async def parse(self, data: bytes = b"") -> None:
        """Handle what has come in; keep an incomplete message for the next call.

        Raises:
            ProtocolError: not NATS protocol, or nats-py failed on a line.
        """
        self.reads += 1
        life = self._life
        buf = self._rest + data if self._rest else bytes(data)
        at, size = 0, len(buf)
        find, direct = buf.find, self.direct
        try:
            while at < size:
                end = find(b"\r\n", at)
                if end < 0:
                    if size - at > MAX_LINE_BYTES:
                        raise ProtocolError("nats: control line too long")
                    break
                first = buf[at]
                if first in _MESSAGES:
                    words = buf[at:end].split()
                    body = end + 2
                    count = len(words)
                    try:
                        stop = body + int(words[-1])
                        if first == _H:
                            if words[0] != b"HMSG" or not 5 <= count <= 6:
                                raise ValueError
                            split = body + int(words[-2])
                        else:
                            if words[0] != b"MSG" or not 4 <= count <= 5:
                                raise ValueError
                            split = body
                        if not body <= split <= stop:
                            raise ValueError
                    except ValueError:
                        raise ProtocolError("nats: malformed MSG") from None
                    if stop + 2 > size:
                        break
                    block = buf[body:split] if split > body else None
                    payload = buf[split:stop]
                    at = stop + 2
                    callback = direct.get(words[2])
                    if callback is not None:
                        try:
                            callback(words[1], block, payload)
                        except Exception as failure:  # noqa: BLE001  its bug must not end the connection
                            self._on_error(failure)
                        if self._life != life:
                            return
                        continue
                    reply = words[3] if count == (6 if first == _H else 5) else b""
                    work = self.nc._process_msg(_number(words[2]), words[1], reply, payload, block)
                else:
                    line = buf[at : end + 2]
                    at = end + 2
                    work = self._pong() if line == b"PONG\r\n" else self._control(line)
                try:
                    await work
                except ProtocolError:
                    raise
                except Exception as failure:
                    self._on_error(failure)
                    raise ProtocolError(f"nats: {failure!r} while handling the server's data") from failure
                if self._life != life:
                    return
        finally:
            if self._life == life:
                self._rest = buf[at:] if at < size else b""

    async def _control(self, line: bytes) -> None:
        """Leave one line to nats-py. It keeps what it does not know: nothing must stay."""
        await super().parse(line)
        if self.buf:
            self.buf.clear()
            raise ProtocolError("nats: unknown protocol")

    async def _pong(self) -> None:
        """nats-py sets the result of a ping whose waiter may be gone: that kills its read loop."""
        try:
            await self.nc._process_pong()
        except asyncio.InvalidStateError:
            self.nc._pings_outstanding = 0


def _number(word: bytes) -> int:
    try:
        return int(word)
    except ValueError:
        raise ProtocolError("nats: malformed MSG") from None
