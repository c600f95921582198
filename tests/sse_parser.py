"""An event stream interpreter that follows the HTML standard (9.2.5, 9.2.6) to the letter, to judge ours by.

Independent of the code under test on purpose: it imports nothing of it and shares no idea with the encoder. It is what
a browser's `EventSource` does between the socket and `onmessage`, and takes any split of the bytes.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")
"""And nothing else: no NEL, no U+2028, no form feed."""


@dataclass(frozen=True, slots=True)
class Message:
    """A dispatched event. `last_event_id` is the event source's at that moment."""

    type: str
    data: str
    last_event_id: str


class EventStream:
    """Feed it bytes as they come; `messages` grows. `last_event_id` and `retry_ms` are the event source's.

    `comments` counts comment lines, for tests of heartbeats.
    """

    def __init__(self) -> None:
        # "Streams must be decoded using the UTF-8 decode algorithm": one leading BOM is dropped, errors replaced.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True
        self._line = ""
        self._after_cr = False
        self._data: list[str] = []
        self._type = ""
        self._id_buffer = ""
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.comments = 0
        self.messages: list[Message] = []

    def feed(self, data: bytes) -> list[Message]:
        """Interpret some bytes; what they dispatched."""
        before = len(self.messages)
        text = self._decoder.decode(data)
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:  # CRLF is one line end, also across two reads
            self._after_cr = False
            text = text.removeprefix("\n")
        *lines, self._line = _LINE_END.split(self._line + text)
        self._after_cr = self._after_cr or text.endswith("\r")
        for line in lines:
            self._interpret(line)
        return self.messages[before:]

    @property
    def pending(self) -> bool:
        """Whether an event or a line has begun and not ended: it would be discarded at the end of the stream."""
        return bool(self._line or self._data or self._type)

    def _interpret(self, line: str) -> None:
        if line == "":
            self._dispatch()
        elif line.startswith(":"):
            self.comments += 1
        elif ":" in line:
            field, _, value = line.partition(":")
            self._process(field, value.removeprefix(" "))
        else:
            self._process(line, "")

    def _process(self, field: str, value: str) -> None:
        if field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            if "\0" not in value:
                self._id_buffer = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id_buffer
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        if data:  # each value was followed by LF, and the last LF is dropped
            self.messages.append(Message(kind or "message", "\n".join(data), self.last_event_id))


def interpret(data: bytes) -> EventStream:
    """A whole stream at once."""
    stream = EventStream()
    stream.feed(data)
    return stream
