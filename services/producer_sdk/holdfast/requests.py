"""Many requests at once over one inbox: integer tokens, time-outs, and every outcome told once.

nats-py's own `publish_async` never resolves when the server answers with an error; a request of its costs a task
switch each. Here an append is a dict entry and a callback.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from holdfast.answer import Answer, Verdict, read_ack, unknown
from holdfast.connection import Connection, Subscription
from holdfast.wire import Record, decode
from holdfast.wire import headers as h

FIRST_TIMEOUT_SECONDS: Final = 0.4
"""A leader that steps down answers nothing to what reached it too late: so long a planned change may cost a stream."""

NEXT_TIMEOUT_SECONDS: Final = 1.0
HASTE_SECONDS: Final = 1.0
"""How long after the first time-out, with nothing answered since, the first one stays: two step-downs in a row cost a
stream less than a second then. After that it is an election; it takes seconds, and asking faster ends none."""

MAX_TIMEOUT_SECONDS: Final = 3.0
MAX_LATE: Final = 8192
PAGE_TIMEOUT_SECONDS: Final = 2.0
MAX_PAGES_AT_ONCE: Final = 8
"""While a replica serves a page, that stream's appends wait on it: few at a time."""

Acked = Callable[[Answer], None]
Paged = Callable[[list[Record] | None, bool], None]


@dataclass(slots=True)
class _Page:
    subject: str
    request: bytes
    done: Paged
    records: list[Record] = field(default_factory=list)
    last: int = 0
    whole: bool = True
    timer: asyncio.TimerHandle | None = None


class Requests:
    """Appends, pages and plain requests in flight. Appends time out at four times the smoothed round trip, at least
    0.4 s: with thousands in flight on a busy machine, impatience doubles the load. So an ack that comes after its
    time-out counts for the round trip too, or a slow broker would never be known as slow."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._inbox = connection.new_inbox()
        self._cut = len(self._inbox) + 1
        self._next = 0
        self._acks: dict[int, tuple[float, Acked]] = {}
        self._late: dict[int, tuple[float, Acked]] = {}
        self._overdue_since: float | None = None
        self._pages: dict[int, _Page] = {}
        self._queue: deque[_Page] = deque()
        self._plain: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._round_trip = 0.0
        self._sweep: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        self._subscription = await self._connection.subscribe(f"{self._inbox}.*", self._received)

    def close(self) -> None:
        """Tell everyone who still waits that nothing is known."""
        self.lost("closed")
        if self._sweep is not None:
            self._sweep.cancel()

    # ------------------------------------------------------------------------------------------------ appends

    def append(self, subject: str, headers: bytes, body: bytes, done: Acked) -> None:
        """Publish and have `done` called, later: once, and after a time-out once more if it turns out to be stored."""
        self._next = token = self._next + 1
        if not self._connection.send(subject, f"{self._inbox}.{token}", headers, body):
            self._loop.call_soon(done, unknown(self._connection.last_error or "not connected"))
            return
        self._acks[token] = (time.monotonic(), done)
        if self._sweep is None:
            self._sweep = self._loop.call_later(0.1, self._sweep_acks)

    @property
    def patience_seconds(self) -> float:
        """How long an append waits for its answer now."""
        since = self._overdue_since
        hasty = since is None or time.monotonic() - since < HASTE_SECONDS
        least = FIRST_TIMEOUT_SECONDS if hasty else NEXT_TIMEOUT_SECONDS
        return min(max(least, 4 * self._round_trip), MAX_TIMEOUT_SECONDS)

    def _sweep_acks(self) -> None:
        self._sweep = None
        now = time.monotonic()
        patience = self.patience_seconds
        expired: list[Acked] = []
        for token, (sent_at, done) in list(self._acks.items()):  # in the order they were sent
            if sent_at + patience > now:
                break
            del self._acks[token]
            self._late[token] = sent_at, done
            expired.append(done)
            if self._connection.received_at < sent_at:
                self._connection.suspect()
        if expired and self._overdue_since is None:
            self._overdue_since = now
        while len(self._late) > MAX_LATE:
            del self._late[next(iter(self._late))]
        for done in expired:
            done(unknown(f"no answer within {patience:.1f} s"))
        if self._acks:
            self._sweep = self._loop.call_later(0.1, self._sweep_acks)

    # -------------------------------------------------------------------------------------------------- pages

    def page(self, subject: str, request: bytes, done: Paged) -> None:
        """One batched Direct Get. `done` is called once, later: the records and whether there are more, or None."""
        self._queue.append(_Page(subject, request, done))
        self._loop.call_soon(self._start_pages)

    def _start_pages(self) -> None:
        while self._queue and len(self._pages) < MAX_PAGES_AT_ONCE:
            page = self._queue.popleft()
            self._next = token = self._next + 1
            if not self._connection.send(page.subject, f"{self._inbox}.{token}", b"", page.request):
                page.done(None, False)
                continue
            self._pages[token] = page
            page.timer = self._loop.call_later(PAGE_TIMEOUT_SECONDS, self._page_over, token, False, False)

    def _page_over(self, token: int, good: bool, more: bool) -> None:
        page = self._pages.pop(token, None)
        if page is None:
            return
        if page.timer is not None:
            page.timer.cancel()
        self._start_pages()
        page.done(page.records if good else None, more)

    # -------------------------------------------------------------------------------------------- plain requests

    async def request(self, subject: str, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        """One request, one reply: `(status, body)`. Raises `TimeoutError` and `ConnectionError`. Cancellable."""
        self._next = token = self._next + 1
        if not self._connection.send(subject, f"{self._inbox}.{token}", b"", body):
            raise ConnectionError(self._connection.last_error or "not connected")
        future: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._plain[token] = future
        try:
            async with asyncio.timeout(timeout_seconds):
                return await future
        finally:
            self._plain.pop(token, None)

    # ------------------------------------------------------------------------------------------------ replies

    def lost(self, why: str = "the connection was lost") -> None:
        """The connection is gone: what is in flight is unknown, and known to be."""
        acks, self._acks = self._acks, {}
        self._late.clear()
        for _, done in acks.values():
            self._loop.call_soon(done, unknown(why))
        for token in list(self._pages):
            self._page_over(token, False, False)
        for future in self._plain.values():
            if not future.done():
                future.set_exception(ConnectionError(why))

    def _received(self, subject: str, headers: bytes | None, body: bytes) -> None:
        try:
            token = int(subject[self._cut :])
        except ValueError:
            return
        waiting = self._acks.pop(token, None)
        if waiting is not None:
            sent_at, done = waiting
            self._overdue_since = None
            self._round_trip += ((time.monotonic() - sent_at) - self._round_trip) / 8
            if headers is None:
                done(read_ack(body))
            else:
                status, _ = h.parse_block(headers)
                done(unknown(f"no responders ({status})") if status else read_ack(body))
            return
        late = self._late.pop(token, None)
        if late is not None:
            sent_at, done = late
            slow = min(time.monotonic() - sent_at, MAX_TIMEOUT_SECONDS)  # one from before an election is no round trip
            self._round_trip += (slow - self._round_trip) / 8
            answer = read_ack(body) if headers is None else unknown("late")
            if answer.verdict is Verdict.STORED:  # certain, however late: nobody has to read the log for it
                done(answer)
            return
        page = self._pages.get(token)
        if page is not None:
            self._paged(token, page, headers, body)
            return
        future = self._plain.get(token)
        if future is not None and not future.done():
            future.set_result((h.parse_block(headers)[0], body))

    def _paged(self, token: int, page: _Page, headers: bytes | None, body: bytes) -> None:
        status, fields = h.parse_block(headers)
        if status == 0:
            # The answers are chained, each to the one before: there is no flow control in a batch, so one can be lost
            # on a route. A writer that settles by a page with a hole would take a stored message for one that is not.
            sequence = h.number(fields.get(h.SEQUENCE))
            if sequence is None or h.number(fields.get(h.LAST_SEQUENCE)) != page.last:
                page.whole = False
                return
            page.last = sequence
            previous = h.number(fields.get(h.EXPECTED_LAST))
            page.records.append(decode(sequence, fields, body, previous=previous))
        elif status == 204:
            ended = h.number(fields.get(h.LAST_SEQUENCE))
            whole = page.whole and (not page.records or ended == page.last)
            self._page_over(token, whole, (h.number(fields.get(h.NUM_PENDING)) or 0) > 0)
        else:  # 404: nothing there; anything else: not served
            self._page_over(token, status == 404, False)
