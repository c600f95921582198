"""A viewer's side of the connection, for tests: takes bytes when told to, and reads them as an SSE client does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.runtime.api import Viewer


@dataclass(frozen=True)
class Seen:
    """One dispatched event. `id`: its own `id:` field, None if it had none."""

    event: str
    data: str
    id: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def parse(stream: bytes) -> tuple[list[Seen], str]:
    """Dispatch whole frames as WHATWG HTML 9.2.6 says. Also: the last event id afterwards."""
    seen: list[Seen] = []
    last_id = ""
    text = stream.decode()
    whole, _, _ = text.rpartition("\n\n")
    for frame in whole.split("\n\n") if whole else []:
        event, data, own = "message", [], None
        for line in frame.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                own = last_id = value
            elif field == "event":
                event = value
            elif field == "data":
                data.append(value)
        if data:
            seen.append(Seen(event, "\n".join(data), own))
    return seen, last_id


class BufferSink:
    """A connection with a write buffer. `take` is the client reading."""

    def __init__(self, mark_bytes: int = 1 << 30) -> None:
        self.mark_bytes = mark_bytes
        self.writable = True
        self.viewer: Viewer | None = None
        self.buffer = bytearray()
        self.taken = bytearray()
        self.writes: list[bytes] = []
        self.reason: CloseReason | None = None

    def write(self, piece: Piece) -> None:
        assert self.reason is None, "written after the end"
        assert piece.data, "an empty write would end a chunked body"
        self.writes.append(piece.data)
        self.buffer += piece.data
        self.writable = len(self.buffer) < self.mark_bytes

    def close(self, reason: CloseReason) -> None:
        assert self.reason is None, "closed twice"
        self.reason = reason

    def take(self, size: int | None = None) -> None:
        """Read so many bytes, or all there are."""
        size = len(self.buffer) if size is None else size
        self.taken += self.buffer[:size]
        del self.buffer[:size]
        if not self.writable and len(self.buffer) < self.mark_bytes:
            self.writable = True
            if self.viewer is not None:
                self.viewer.resume()

    def take_all(self) -> None:
        """Read until nothing more comes."""
        while self.buffer:
            self.take()

    @property
    def seen(self) -> list[Seen]:
        return parse(bytes(self.taken))[0]

    @property
    def last_id(self) -> str:
        return parse(bytes(self.taken))[1]


def start(viewer: Viewer, mark_bytes: int = 1 << 30) -> BufferSink:
    """Begin the viewer's response."""
    sink = BufferSink(mark_bytes)
    sink.viewer = viewer
    viewer.start(sink)
    return sink
