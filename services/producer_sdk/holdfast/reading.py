"""`read`: a session's events for a Python consumer, exact and resuming.

The log is read by batched Direct Gets from the last sequence on; the live subject only says when to look again, so
that nothing depends on it. Records are folded by the same pure function the gateways use, from the session's first
message: whether a record means anything depends on what came before it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from holdfast.errors import BrokerUnavailable, HoldfastError, SessionNotFound
from holdfast.log import Log, Place
from holdfast.operations import page as read_page
from holdfast.wire import NEW, Control, Cursor, Event, Phase, Record, SessionKey, step
from holdfast.wire.event import MESSAGE, text_of
from holdfast.wire.run import GAP
from holdfast.writer import BELIEVE_SECONDS

POLL_SECONDS: Final = 1.0
LEADER_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event as a viewer gets it.

    `id` is the cursor behind it, None for what is not a place in the log (gaps, the producer's health). `type` is the
    SSE event name; names that start with `session.` are about the run, their data is a JSON object.
    """

    id: str | None
    type: str
    data: bytes

    @property
    def text(self) -> str:
        """The data as an SSE client sees it."""
        return text_of(self.data)

    def json(self) -> Any:
        """The data as JSON. Raises `ValueError` where it is not."""
        return json.loads(self.data)

    @property
    def control(self) -> bool:
        """Whether it is about the run, not from the model."""
        return self.type.startswith("session.")


async def read(
    log: Log, key: SessionKey, cursor: str | None, *, follow: bool, wait_seconds: float | None
) -> AsyncGenerator[StreamEvent, None]:
    """See `Holdfast.read`."""
    wanted = None if not cursor else Cursor.parse(cursor)
    reader = _Reader(log, key, wanted)
    loop = asyncio.get_running_loop()
    deadline = None if wait_seconds is None else loop.time() + wait_seconds
    wake = asyncio.Event()
    watch = await log.watch(reader.place.live, lambda _body: wake.set())
    try:
        while True:
            wake.clear()
            async for event in reader.catch_up():
                yield event
            over = reader.last and reader.wanted is None and reader.state.phase is Phase.CLOSED
            if over and not follow and await reader.at_the_end():
                return
            if not reader.last and deadline is not None and loop.time() >= deadline:
                raise SessionNotFound(key.session)
            try:
                closed = reader.state.phase is Phase.CLOSED and not follow  # a replica is behind: not for long
                async with asyncio.timeout(POLL_SECONDS if reader.last and not closed else 0.1):
                    await wake.wait()
            except TimeoutError:
                pass
    finally:
        await watch.stop()


class _Reader:
    """Where one reader stands."""

    def __init__(self, log: Log, key: SessionKey, wanted: Cursor | None) -> None:
        self.log = log
        self.key = key
        self.place: Place = log.place(key)
        self.state = NEW
        self.last = 0
        self.wanted = wanted if wanted is None or wanted.sequence else self._origin(wanted)
        self.foreign = wanted is not None and wanted.incarnation != self.place.incarnation
        self.ahead_since: float | None = None

    def _origin(self, wanted: Cursor) -> Cursor | None:
        return None if wanted.incarnation == self.place.incarnation else wanted

    async def catch_up(self) -> AsyncGenerator[StreamEvent, None]:
        """All there is, until a replica says that it has no more."""
        failing_since: float | None = None
        loop, wait = asyncio.get_running_loop(), 0.02
        while True:
            found = await read_page(self.log, self.place, self.last)
            if found is None:
                failing_since = failing_since or loop.time()
                if loop.time() - failing_since > LEADER_PATIENCE_SECONDS:
                    failing_since = None
                    if await self._moved():
                        yield self._gap("foreign", None, 0)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 0.5)
                continue
            failing_since, wait = None, 0.02
            for record in found.records:
                if record.sequence <= self.last:
                    continue
                for event in self._take(record):
                    yield event
                if self.last == 0:  # told to start over
                    break
            else:
                if found.more:
                    continue
                if self.wanted is None or not await self._ahead(self.wanted):
                    return
                yield self._start_over("future", self.wanted)

    def _take(self, record: Record) -> Iterator[StreamEvent]:
        wanted, last = self.wanted, self.last
        if self.foreign and wanted is not None:
            self.foreign, self.wanted = False, None
            yield self._gap("foreign", wanted, record.sequence)
            yield from self._told(record, None, judged=True)
            return
        if wanted is not None:
            if record.sequence == wanted.sequence:
                self.wanted = None
                yield from self._told(record, wanted)
                return
            if record.sequence < wanted.sequence:
                self.state, _ = step(self.state, record)
                self.last = record.sequence
                return
            if record.previous != wanted.sequence:
                if last:  # the log has no hole there: the cursor is of another session
                    yield self._start_over("foreign", wanted)
                    return
                yield self._gap("trimmed", wanted, record.sequence)
            self.wanted = None
            yield from self._told(record, None, judged=True)
            return
        elif last and record.previous is not None and record.previous > last:
            yield self._gap("trimmed", Cursor(self.place.incarnation, last), record.sequence)
            self.state = NEW  # what was known may have ended there; the record says which run it belongs to
            yield from self._told(record, None, judged=True)
            return
        yield from self._told(record, None)

    def _told(self, record: Record, behind: Cursor | None, *, judged: bool = False) -> Iterator[StreamEvent]:
        """A record's events; `behind` skips those that the cursor has passed. `judged`: what is missing before it has
        been said, or is nothing."""
        self.state, told = step(self.state, record)
        self.last = record.sequence
        counted = sum(1 for output in told if isinstance(output, Event) or output.counted)
        base, item = f"{self.place.incarnation}-{record.sequence}", 0
        for output in told:
            if isinstance(output, Control) and not output.counted:
                if output.event == GAP:
                    if behind is None and not judged:
                        yield self._gap("trimmed", None, record.sequence)
                elif behind is None:
                    yield StreamEvent(None, output.event, _json(output.data))
                continue
            if behind is None or (behind.item is not None and item > behind.item):
                where = base if item == counted - 1 else f"{base}.{item}"
                if isinstance(output, Control):
                    yield StreamEvent(where, output.event, _json(output.data))
                else:
                    yield StreamEvent(where, output.type or MESSAGE, output.data)
            item += 1

    async def at_the_end(self) -> bool:
        """Whether the leader knows of nothing newer. A reader without the right to ask it believes the replica."""
        last = await self.log.last_sequence(self.place)
        return last is None or last <= self.last

    async def _ahead(self, wanted: Cursor) -> bool:
        """Whether the cursor is beyond the log. No replica may say so, nor a leader that was cut off from its quorum:
        only one that goes on saying it for longer than such a leader lasts (ADR-0004)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LEADER_PATIENCE_SECONDS
        while (last := await self.log.last_sequence(self.place)) is None:
            if loop.time() >= deadline:
                raise BrokerUnavailable(self.log.servers, "no leader to judge the cursor")
            await asyncio.sleep(0.1)
        if last > self.last:
            await asyncio.sleep(0.01)  # the replica is behind
        if not 0 < last <= min(self.last, wanted.sequence - 1):
            self.ahead_since = None
            return False
        if self.ahead_since is None:
            self.ahead_since = loop.time()
        return loop.time() - self.ahead_since >= BELIEVE_SECONDS

    def _start_over(self, reason: str, wanted: Cursor) -> StreamEvent:
        latest = self.last
        self.wanted, self.state, self.last = None, NEW, 0
        return self._gap(reason, wanted, 0, latest)

    async def _moved(self) -> bool:
        """The stream does not answer: was it replaced?"""
        try:
            await self.log.refresh()
        except HoldfastError:
            return False
        place = self.log.place(self.key)
        if place.stream == self.place.stream:
            return False
        self.place, self.state, self.last, self.wanted = place, NEW, 0, None
        return True

    def _gap(self, reason: str, wanted: Cursor | None, earliest: int, latest: int = 0) -> StreamEvent:
        told = {
            "reason": reason,
            "requested": None if wanted is None else str(wanted),
            "earliest": f"{self.place.incarnation}-{earliest}" if earliest else None,
            "latest": f"{self.place.incarnation}-{latest}" if latest else None,
        }
        return StreamEvent(None, GAP, _json(told))


def _json(value: Any) -> bytes:
    return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":")).encode()
