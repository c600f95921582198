"""The event-stream parser of the WHATWG HTML standard, section 9.2.6, as bytes in and blocks out.

Written from the standard and used by nobody but the viewers, so that a mistake in the gateway's framing is not
hidden by the same mistake here.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """One blank-line-terminated block of the stream.

    Attributes:
        type: Event name, ``message`` when the block names none.
        data: The data lines joined by LF; ``None`` when the block had no data line, which dispatches nothing.
        id_field: The block's own ``id`` field, ``None`` when it carries none.
        last_event_id: What ``event.lastEventId`` would read in a browser.
        retry_milliseconds: A valid ``retry`` field, else ``None``.
        comments: How many comment lines it held.
    """

    type: str
    data: str | None
    id_field: str | None
    last_event_id: str
    retry_milliseconds: int | None
    comments: int


class EventSourceParser:
    """Turns the bytes of one response into blocks; a new response needs a new parser.

    Args:
        last_event_id: The value that survives from the response before, as the standard demands.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self._after_cr = False
        self._at_start = True
        self._id_buffer = last_event_id
        self._reset()

    def _reset(self) -> None:
        self._type = ""
        self._data: list[str] | None = None
        self._id_field: str | None = None
        self._retry: int | None = None
        self._comments = 0
        self._touched = False

    def feed(self, received: bytes) -> list[Block]:
        """Take bytes as they came and return the blocks they complete."""
        text = self._decoder.decode(received)
        if not text:
            return []
        if self._at_start:
            text = text.removeprefix("\ufeff")
            self._at_start = False
        if self._after_cr:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        # U+2028 and friends end no line here, so str.splitlines() would be wrong.
        lines = (self._pending + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._pending = lines.pop()
        blocks = []
        for line in lines:
            block = self._line(line)
            if block is not None:
                blocks.append(block)
        return blocks

    def _line(self, line: str) -> Block | None:
        if not line:
            return self._dispatch()
        self._touched = True
        if line.startswith(":"):
            self._comments += 1
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data = [*(self._data or []), value]
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id_buffer = self._id_field = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value)
        return None

    def _dispatch(self) -> Block | None:
        self.last_event_id = self._id_buffer
        block = None
        if self._touched:
            data = None if self._data is None else "\n".join(self._data)
            block = Block(
                self._type or "message", data, self._id_field, self.last_event_id, self._retry, self._comments
            )
        self._reset()
        return block
