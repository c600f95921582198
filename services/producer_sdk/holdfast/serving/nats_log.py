"""A session in a Holdfast log, as the streamer sees it: its name, its one answer, and appends from outside a run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from holdfast import operations
from holdfast.answer import Verdict
from holdfast.errors import BrokerUnavailable, ContractError, StreamReplaced
from holdfast.log import Log, Place
from holdfast.serving.records import Outcome, Position, State
from holdfast.wire import NEW, Control, Cursor, Draft, Event, Kind, Phase, Record, codec, step
from holdfast.wire.control import CANCELLED, END, FAILED

WHOLE: Final = 1 << 20
"""The item of a position behind a whole message: above every item of it."""

PATIENCE_SECONDS: Final = 15.0
"""Longer than an election (4 to 9 s)."""

_PLAIN = re.compile(r"(?!_[xh])[A-Za-z0-9_-]{1,128}")


def session_name(session_id: str) -> str:
    """Any text as a session id of the log; one that is usable stays what it is, so that a gateway serves it too."""
    if _PLAIN.fullmatch(session_id):
        return session_id
    raw = session_id.encode("utf-8", "surrogatepass")
    if len(raw) <= 94:
        return "_x" + base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return "_h" + hashlib.sha256(raw).hexdigest()


def position_of(cursor: Cursor) -> Position:
    return cursor.sequence, WHOLE if cursor.item is None else cursor.item


def cursor_at(incarnation: str, position: Position) -> str | None:
    """The cursor of a position; None for the start."""
    sequence, item = position
    return str(Cursor(incarnation, sequence, None if item == WHOLE else item)) if sequence else None


class Answer:
    """The fold of a session's log as the streamer reads it: its first run since it was last erased."""

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.state = NEW
        self.last = 0
        self.base = 0
        """The sequence of the erasure before; what is up to there belongs to another answer."""
        self.run = 0
        self.outcome: State = "open"
        self.end: Position | None = None

    @property
    def token(self) -> str:
        return f"{self.incarnation}-{self.base}"

    def add(self, record: Record) -> None:
        """Fold a record; one that was folded before changes nothing."""
        if record.sequence <= self.last:
            return
        self.state, told = step(self.state, record)
        self.last = record.sequence
        if self.state.closed_by is Kind.ERASED:
            self.base, self.run, self.outcome, self.end = record.sequence, 0, "open", None
            return
        if not self.run and self.state.phase is not Phase.NONE:
            self.run = self.state.run
        if self.end is not None:
            return
        counted = [o for o in told if isinstance(o, Event) or o.counted]
        for item, output in enumerate(counted):
            if isinstance(output, Control) and output.event in (END, FAILED, CANCELLED):
                self.outcome = "end" if output.event == END else "failed"
                self.end = record.sequence, WHOLE if item == len(counted) - 1 else item
                return


async def catch_up(log: Log, place: Place, answer: Answer, *, upto: int = 0) -> list[Record]:
    """Fold what is new, at least up to a sequence. Returns it. Raises `BrokerUnavailable` after 15 s."""
    loop = asyncio.get_running_loop()
    deadline, wait, seen = loop.time() + PATIENCE_SECONDS, 0.01, list[Record]()
    while True:
        page = await operations.page(log, place, answer.last)
        if page is not None:
            for record in page.records:
                answer.add(record)
                seen.append(record)
            if page.more:
                continue
            if answer.last >= upto:
                return seen
        if loop.time() >= deadline:
            raise BrokerUnavailable(log.servers, f"session {place.key.session} could not be read")
        await asyncio.sleep(wait)
        wait = min(wait * 2, 0.5)


async def last_sequence(log: Log, place: Place) -> int:
    """The session's last sequence, as the leader has it. Raises `BrokerUnavailable` after 15 s."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while (last := await log.last_sequence(place)) is None:
        if loop.time() >= deadline:
            raise BrokerUnavailable(log.servers, "no leader answered")
        await asyncio.sleep(0.1)
    return last


async def push(log: Log, place: Place, answer: Answer, events: Sequence[Event]) -> bool:
    """Append plain data behind what is there. False if the answer has ended."""
    draft = codec.data(events)

    def ours(record: Record) -> bool:
        return record.kind is Kind.DATA and record.writer is None and tuple(record.events) == tuple(events)

    return await _append(log, place, answer, lambda: None if answer.end else draft, ours)


async def close(log: Log, place: Place, answer: Answer, outcome: Outcome) -> None:
    """Append the terminal, unless there is one. Opens the session first if nothing is known of it."""
    if not answer.run:
        writer = secrets.token_hex(6)
        start = codec.start(writer)
        await _append(log, place, answer, lambda: None if answer.run else start, lambda r: r.writer == writer)

    def terminal() -> Draft | None:
        if answer.end is not None:
            return None
        if outcome.kind == "end":
            return codec.end(None, answer.run)
        return codec.failed(None, answer.run, outcome.reason, outcome.message)

    await _append(log, place, answer, terminal, lambda r: answer.end is not None and r.sequence == answer.end[0])


async def _append(
    log: Log,
    place: Place,
    answer: Answer,
    draft_of: Callable[[], Draft | None],
    ours: Callable[[Record], bool],
) -> bool:
    """Append behind the log's tail as folded, again until it is settled. False if there is nothing to append any more.

    An unanswered append is unknown: the same bytes go again with the same expected sequence, so that they land once
    at most. When that is refused, the record that directly follows what was expected is either ours or another's.
    """
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + PATIENCE_SECONDS, 0.002
    while (draft := draft_of()) is not None:
        expected, uncertain = answer.last, False
        while (told := await operations.append(log, place, draft, expected)).verdict is Verdict.UNKNOWN:
            uncertain = True
            if loop.time() >= deadline:
                raise BrokerUnavailable(log.servers, told.why)
            await asyncio.sleep(wait)
            wait = min(wait * 2, 1.0)
        match told.verdict:
            case Verdict.STORED:
                await catch_up(log, place, answer, upto=told.sequence)
                return True
            case Verdict.GONE:
                raise StreamReplaced(place.key.session, place.stream)
            case Verdict.TOO_LARGE:
                raise ContractError(told.why)
        for record in await catch_up(log, place, answer, upto=told.sequence):
            if uncertain and record.previous == expected and ours(record):
                return True
    return False
