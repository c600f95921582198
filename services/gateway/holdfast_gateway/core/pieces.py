"""Bytes on their way to many viewers at once, framed at most once for each way out."""

from __future__ import annotations


def chunk(data: bytes) -> bytes:
    """One HTTP/1.1 chunk (RFC 9112, 7.1). `data` must not be empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


class Piece:
    """Whole SSE frames, shared by every viewer that stands at the same place. Never empty, never changed."""

    __slots__ = ("_chunk", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._chunk: bytes | None = None

    @property
    def chunk(self) -> bytes:
        """The same bytes as one HTTP/1.1 chunk, made once."""
        framed = self._chunk
        if framed is None:
            framed = self._chunk = chunk(self.data)
        return framed
