"""Pages of the log: whole, or not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from holdfast.requests import Requests
from holdfast.wire import Record

Handler = Callable[[str, bytes | None, bytes], None]


class Wire:
    """Where requests go; the test is the server."""

    last_error = ""
    received_at = 0.0

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.handler: Handler | None = None

    def new_inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, subject: str, handler: Handler) -> None:
        self.handler = handler

    def send(self, subject: str, reply: str, headers: bytes, body: bytes) -> bool:
        self.sent.append(reply)
        return True

    def suspect(self) -> None:
        raise AssertionError("nothing is overdue here")


def message(sequence: int, before: int) -> bytes:
    return f"NATS/1.0\r\nNats-Sequence: {sequence}\r\nNats-Last-Sequence: {before}\r\n\r\n".encode()


def end(last: int, pending: int = 0) -> bytes:
    return f"NATS/1.0 204 EOB\r\nNats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n\r\n".encode()


async def answered(*blocks: bytes) -> tuple[list[int] | None, bool]:
    wire = Wire()
    requests = Requests(wire)  # type: ignore[arg-type]
    await requests.open()
    told: list[tuple[list[Record] | None, bool]] = []
    requests.page("get", b"{}", lambda records, more: told.append((records, more)))
    await asyncio.sleep(0)
    assert wire.handler is not None
    for block in blocks:
        wire.handler(wire.sent[0], block, b"x")
    ((records, more),) = told
    return None if records is None else [r.sequence for r in records], more


async def test_a_whole_page() -> None:
    """Each answer names the one before, the end names the last."""
    assert await answered(message(3, 0), message(7, 3), end(7, 2)) == ([3, 7], True)
    assert await answered(message(3, 0), end(3)) == ([3], False)


async def test_nothing_there() -> None:
    """404 and an empty batch are answers."""
    assert await answered(b"NATS/1.0 404 No Results\r\n\r\n") == ([], False)
    assert await answered(end(0)) == ([], False)


@pytest.mark.parametrize(
    "blocks",
    [
        (message(7, 3), end(7)),
        (message(3, 0), message(9, 7), end(9)),
        (message(3, 0), end(7)),
        (b"NATS/1.0\r\n\r\n", end(0)),
        (b"NATS/1.0 408 Bad Request\r\n\r\n",),
    ],
    ids=["first lost", "one lost", "last lost", "no sequence", "refused"],
)
async def test_a_page_with_a_hole_is_no_answer(blocks: tuple[bytes, ...]) -> None:
    """A writer that settled by it would store again what is stored, or write on behind a fence it did not see."""
    assert (await answered(*blocks))[0] is None
