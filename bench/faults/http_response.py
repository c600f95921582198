"""A small HTTP/1.1 response reader: head, then the body chunked or until close. Bytes in, bytes out."""

from __future__ import annotations

MAX_HEAD_BYTES = 32 * 1024


class BadResponse(Exception):
    """The peer's bytes are not an HTTP/1.1 response that this reader takes."""


class HttpResponse:
    """Feed it what the socket gave; ask it for the body so far.

    Attributes:
        status: The status code once the head is complete, else ``None``.
        headers: Lower-cased names to values.
        complete: True when the body has ended by its own framing.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.complete = False
        self._buffer = bytearray()
        self._left: int | None = None  # bytes left of the open chunk or of a Content-Length
        self._chunked = False

    def feed(self, received: bytes) -> bytes:
        """Take bytes and return the body bytes they uncover.

        Raises:
            BadResponse: On anything that is not a well-formed response.
        """
        self._buffer += received
        if self.status is None and not self._head():
            return b""
        if not self._chunked:
            return self._plain()
        return self._chunks()

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadResponse("response head too long")
            return False
        first, *rest = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, _, tail = first.partition(" ")
        if not version.startswith("HTTP/1.") or not tail[:3].isdigit():
            raise BadResponse(f"status line {first!r}")
        self.status = int(tail[:3])
        for line in rest:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if not self._chunked and "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
        if self.status == 204 or self._left == 0:
            self.complete = True
        return True

    def _plain(self) -> bytes:
        body = bytes(self._buffer if self._left is None else self._buffer[: self._left])
        self._buffer.clear()
        if self._left is not None:
            self._left -= len(body)
            self.complete = self._left == 0
        return body

    def _chunks(self) -> bytes:
        out = bytearray()
        while not self.complete:
            if self._left is None:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    break
                try:
                    size = int(bytes(self._buffer[:end]).split(b";")[0], 16)
                except ValueError:
                    raise BadResponse(f"chunk size {bytes(self._buffer[:end])!r}") from None
                if size == 0:
                    if len(self._buffer) < end + 4:
                        break
                    self.complete = True
                    break
                del self._buffer[: end + 2]
                self._left = size
            if len(self._buffer) < self._left + 2:
                break
            out += self._buffer[: self._left]
            if self._buffer[self._left : self._left + 2] != b"\r\n":
                raise BadResponse("chunk without its closing CRLF")
            del self._buffer[: self._left + 2]
            self._left = None
        return bytes(out)
