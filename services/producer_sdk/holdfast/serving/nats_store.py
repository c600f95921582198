"""Sessions in a Holdfast log on NATS: the same log that gateways serve and that `hf.session` writes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Final, Literal, TypeAlias
from weakref import WeakValueDictionary

from holdfast import operations
from holdfast.client import Holdfast, connect
from holdfast.errors import BrokerUnavailable, ContractError, HoldfastError, SessionNotFound, SessionOpen, Uncertain
from holdfast.log import Place as LogPlace
from holdfast.reading import StreamEvent
from holdfast.serving.nats_lease import GRACE_SECONDS, guard
from holdfast.serving.nats_log import (
    WHOLE,
    Answer,
    catch_up,
    close,
    cursor_at,
    last_sequence,
    position_of,
    push,
    session_name,
)
from holdfast.serving.places import cleared_after
from holdfast.serving.records import START_ID, Outcome, Place, Position, Record, gap, to_json
from holdfast.serving.store import (
    DEFAULT_IDLE_SECONDS,
    DEFAULT_LEASE_SECONDS,
    RunLost,
    SessionEnded,
    StoreError,
    StoreUnavailable,
)
from holdfast.session import Session
from holdfast.wire.cursor import Cursor
from holdfast.wire.errors import InvalidCursor
from holdfast.wire.event import Event

MAX_FOLDS: Final = 1024
"""Sessions whose state is remembered, so that only what is new of them is read again. The longest unused go."""

_Misplaced: TypeAlias = Literal["foreign", "future", "trimmed"]

_log = logging.getLogger(__name__)


class NatsStore:
    """A `SessionStore` on a Holdfast log.

    Args:
        client: a connection of the caller's; it stays theirs. None: one is made when it is first needed, as
            `holdfast.connect()` makes it.
        lease_seconds: a generator's run is closed as failed when silent for so long and a grace.
        idle_seconds: the same for sessions filled by `push` alone.
        grace_seconds: how long a run taken for lost may still come back.
    """

    def __init__(
        self,
        client: Holdfast | None = None,
        *,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        # How often a run looks whether it is still the session's; the log's own lease is renewed by the SDK.
        self.lease_seconds = min(3.0, lease_seconds)
        self._run_lease_seconds = lease_seconds
        self._idle_seconds = idle_seconds
        self._grace_seconds = grace_seconds
        self._client = client
        self._connecting = asyncio.Lock()
        self._connection = AsyncExitStack()
        self._sessions: dict[str, Session] = {}
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._pushing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._guards: dict[str, tuple[int, asyncio.Task[None]]] = {}

    async def begin(self, session_id: str) -> str | None:
        with _mapped(session_id):
            hf, place, answer = await self._look(session_id)
            await catch_up(hf._log, place, answer, upto=await last_sequence(hf._log, place))
            if answer.run:
                return None
            before = answer.last
            session = hf.session(place.key.session, if_open="raise", lease_seconds=self._run_lease_seconds)
            try:
                await session.open()
            except SessionOpen:
                return None
            if Cursor.parse(session.cursor).sequence != before:
                # Another's whole run fitted in between: it is the session's answer, ours closes empty behind it.
                await session.end()
                return None
            self._sessions[run := f"{session.cursor}/{session.run}"] = session
            return run

    async def append(self, session_id: str, run: str | None, first: int, events: Sequence[Event]) -> None:
        if run is None:
            lock = self._pushing.setdefault(session_id, asyncio.Lock())
            async with lock:
                with _mapped(session_id):
                    hf, place, answer = await self._look(session_id)
                    await catch_up(hf._log, place, answer)
                    if not await push(hf._log, place, answer, events):
                        raise SessionEnded(session_id)
            return
        session = self._session(session_id, run)
        try:
            with _mapped(session_id, running=True):
                for e in events:
                    await session.write_async(e.data, e.type)
        except RunLost:
            self._sessions.pop(run, None)
            raise

    async def finish(self, session_id: str, run: str | None, outcome: Outcome) -> None:
        if run is not None:
            session = self._sessions.pop(run, None)
            if session is None:
                return
            try:
                with _mapped(session_id, running=True):
                    if outcome.kind == "end":
                        await session.end()
                    else:
                        await session.fail(outcome.reason, outcome.message)
            except RunLost:
                pass
            return
        with _mapped(session_id):
            hf, place, answer = await self._look(session_id)
            await catch_up(hf._log, place, answer)
            await close(hf._log, place, answer, outcome)

    async def renew(self, session_id: str, run: str) -> None:
        session = self._session(session_id, run)
        if session.error is not None or session.closed:
            self._sessions.pop(run, None)
            raise RunLost(session_id, str(session.error or "ended"))

    async def erase(self, session_id: str) -> None:
        with _mapped(session_id):
            hf, _, _ = await self._look(session_id)
            try:
                await hf.erase(session_name(session_id))
            except SessionNotFound:
                pass

    async def locate(self, session_id: str, last_id: str) -> Place | None:
        with _mapped(session_id):
            hf, place, answer = await self._look(session_id)
            await catch_up(hf._log, place, answer)
            if not answer.run:
                return None
            start = (answer.base, WHOLE) if answer.base else (0, 0)
            if last_id in ("", START_ID):
                return Place(answer.token, start, answer.outcome)
            try:
                cursor = Cursor.parse(last_id)
            except InvalidCursor:
                return Place(answer.token, start, answer.outcome, gap("malformed", last_id))
            why = await self._misplaced(hf, place, answer, cursor)
            if why is not None:
                return Place(answer.token, start, answer.outcome, gap(why, last_id))
            after = position_of(cursor)
            return Place(answer.token, after, answer.outcome, at_end=answer.end is not None and after >= answer.end)

    async def _misplaced(self, hf: Holdfast, place: LogPlace, answer: Answer, cursor: Cursor) -> _Misplaced | None:
        """What is wrong with a cursor, if anything."""
        if cursor.incarnation != answer.incarnation or cursor.sequence <= answer.base:
            return "foreign"
        if cursor.sequence > answer.last:
            last = await last_sequence(hf._log, place)  # no replica may say that a cursor is ahead
            if cursor.sequence > last:
                return "future"
            await catch_up(hf._log, place, answer, upto=last)
        if (found := await operations.page(hf._log, place, cursor.sequence - 1)) is None or not found.records:
            raise BrokerUnavailable(hf._log.servers, "the cursor's message could not be read")
        if found.records[0].sequence == cursor.sequence or found.records[0].previous == cursor.sequence:
            return None
        front = await operations.page(hf._log, place, answer.base)
        if front is None or not front.records:
            raise BrokerUnavailable(hf._log.servers, "the session's first message could not be read")
        # A front that says it follows nothing has lost nothing: the cursor is another session's.
        first = front.records[0]
        return "trimmed" if first.sequence > cursor.sequence and first.previous != answer.base else "foreign"

    async def follow(self, session_id: str, run: str, after: Position) -> AsyncGenerator[list[Record], None]:
        hf, place, answer = await self._look(session_id)
        if answer.token != run:
            yield [cleared_after(after)]
            return
        cursor = cursor_at(place.incarnation, after)
        with _mapped(session_id):
            async with (
                self._guarded(hf, place, answer),
                aclosing(hf.read(place.key.session, cursor, wait_seconds=None)) as events,
            ):
                async for event in events:
                    record = _record(event, after)
                    if record is None:
                        continue
                    after = record.position
                    yield [record]
                    if record.terminal:
                        return

    async def aclose(self) -> None:
        """Let go of the connection, if it was made here."""
        for _, task in list(self._guards.values()):
            task.cancel()
        if self._guards:
            await asyncio.wait([task for _, task in self._guards.values()])
        await self._connection.aclose()

    async def _look(self, session_id: str) -> tuple[Holdfast, LogPlace, Answer]:
        """The connection, where the session lives, and what is known of it."""
        hf = await self._connected()
        place = hf._place(session_name(session_id))
        answer = self._answers.get(session_id)
        if answer is None or answer.incarnation != place.incarnation:
            answer = self._answers[session_id] = Answer(place.incarnation)
        self._answers.move_to_end(session_id)
        if len(self._answers) > MAX_FOLDS:
            self._answers.popitem(last=False)
        return hf, place, answer

    async def _connected(self) -> Holdfast:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connection.enter_async_context(connect(handle_sigterm=False))
            return self._client

    def _session(self, session_id: str, run: str) -> Session:
        session = self._sessions.get(run)
        if session is None:
            raise RunLost(session_id, "ended")
        return session

    @asynccontextmanager
    async def _guarded(self, hf: Holdfast, place: LogPlace, answer: Answer) -> AsyncIterator[None]:
        """While a session is watched here, its producer is watched too, once."""
        key = place.stored
        viewers, task = self._guards.get(key, (0, None))
        if task is None or task.done():
            watching = guard(hf._log, place, answer, idle_seconds=self._idle_seconds, grace_seconds=self._grace_seconds)
            task = asyncio.get_running_loop().create_task(watching)
            task.add_done_callback(_guard_ended)
        self._guards[key] = (viewers + 1, task)
        try:
            yield
        finally:
            viewers, task = self._guards[key]
            if viewers > 1:
                self._guards[key] = (viewers - 1, task)
            else:
                del self._guards[key]
                task.cancel()


def _guard_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("watching over a producer failed", exc_info=error)


def _record(event: StreamEvent, after: Position) -> Record | None:
    """An event of the log as the streamer's viewers get it; None for what they are not told."""
    if event.id is None:
        if event.type != "session.gap":
            return None
        told = event.json()
        return Record(after, "", "gap", to_json({"reason": told["reason"], "requested": told["requested"] or START_ID}))
    position = position_of(Cursor.parse(event.id))
    if not event.control:
        return Record(position, event.id, "data", event.data.decode("utf-8", "replace"), event.type)
    match event.type:
        case "session.end":
            return Record(position, event.id, "end", "")
        case "session.failed" | "session.cancelled":
            told = json.loads(event.data)
            reason = "cancelled" if event.type == "session.cancelled" else str(told.get("reason"))
            if reason == "erased":
                return cleared_after(position)
            return Record(position, event.id, "failed", Outcome("failed", reason, str(told.get("message", ""))).data)
        case "session.reset":
            return Record(position, "", "gap", to_json({"reason": "reset", "requested": START_ID}))
    return None


@contextmanager
def _mapped(session_id: str, *, running: bool = False) -> Iterator[None]:
    """The SDK's errors as the store's."""
    try:
        yield
    except (BrokerUnavailable, Uncertain) as e:
        raise StoreUnavailable(session_id, str(e)) from e
    except (ContractError, StoreError):
        raise
    except HoldfastError as e:
        if running:
            raise RunLost(session_id, str(e)) from e
        raise
