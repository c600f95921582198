"""What can be done to a session without being its writer: look at its state, cancel, erase."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from holdfast.answer import Answer, Verdict
from holdfast.errors import BrokerUnavailable, ContractError, SessionNotFound, StreamReplaced
from holdfast.log import Log, Page, Place
from holdfast.opening import History
from holdfast.wire import Draft, Kind, Phase, codec
from holdfast.wire.subjects import run_name

CancelOutcome = Literal["cancelled", "pending", "not_open"]

PATIENCE_SECONDS: Final = 15.0
"""Longer than an election (4 to 9 s)."""


async def append(log: Log, place: Place, draft: Draft, expected: int | None = None) -> Answer:
    """Append once and wait for the answer. Cancelled: it may still land."""
    told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    log.append(place, draft, expected, lambda answer: None if told.done() else told.set_result(answer))
    return await told


async def page(log: Log, place: Place, after: int) -> Page | None:
    """Read one page. Cancellable."""
    told: asyncio.Future[Page | None] = asyncio.get_running_loop().create_future()
    log.page(place, after, lambda found: None if told.done() else told.set_result(found))
    return await told


async def fold_log(log: Log, place: Place, *, upto: int = 0, after: History | None = None) -> History:
    """Fold the session's log, at least to `upto`. Raises `BrokerUnavailable` after 15 s without an answer."""
    history = after or History(keep_events=False)
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + PATIENCE_SECONDS, 0.01
    while True:
        found = await page(log, place, history.last)
        if found is not None:
            for record in found.records:
                history.add(record)
            if found.more:
                continue
            if history.last >= upto:
                return history
        if loop.time() >= deadline:
            raise BrokerUnavailable(log.servers, f"session {place.key.session} could not be read")
        await asyncio.sleep(wait)
        wait = min(wait * 2, 0.5)


async def append_surely(log: Log, place: Place, draft: Draft) -> int:
    """Append something whose repetition is void, until it is stored. Returns a sequence at which it is."""
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + PATIENCE_SECONDS, 0.005
    while True:
        answer = await append(log, place, draft)
        if answer.verdict is Verdict.STORED:
            return answer.sequence
        if answer.verdict is Verdict.GONE:
            raise StreamReplaced(place.key.session, place.stream)
        if answer.verdict is Verdict.TOO_LARGE:
            raise ContractError(answer.why)
        if loop.time() >= deadline:
            raise BrokerUnavailable(log.servers, answer.why)
        await asyncio.sleep(wait)
        wait = min(wait * 2, 0.5)


async def cancel(log: Log, place: Place, run: int | str | None, reason: str | None) -> CancelOutcome:
    """Append `cancelled`, unconditionally: a conditional append loses against a busy writer every time."""
    if isinstance(run, str):
        run_name(run)
    history = await fold_log(log, place)
    if run is None:
        if history.state.phase is not Phase.OPEN:
            return "not_open"
        run = history.state.run
    writer = history.state.writer
    if isinstance(run, int) and (history.state.phase is not Phase.OPEN or history.state.run != run):
        return "not_open"
    stored = await append_surely(log, place, codec.cancelled(run, reason))
    if writer is not None:
        log.hint(log.namespace.writer_nudge(writer), place.stored.encode())
    # Every record before `stored` is there to be read: what it did follows from them. It may have been stored twice.
    state = (await fold_log(log, place, upto=stored, after=history)).state
    if isinstance(run, str) and run in state.cancelled_names:
        return "pending"
    ours = state.closed_by is Kind.CANCELLED and (state.run == run or state.name == run)
    return "cancelled" if ours else "not_open"


async def erase(log: Log, place: Place) -> None:
    """Append `erased`, then purge what is before it."""
    history = await fold_log(log, place)
    if history.last == 0:
        raise SessionNotFound(place.key.session)
    stored = await append_surely(log, place, codec.erased())
    if history.state.writer is not None:
        log.hint(log.namespace.writer_nudge(history.state.writer), place.stored.encode())
    if not await log.purge(place, stored):
        raise BrokerUnavailable(log.servers, f"session {place.key.session} is erased, but the purge was not confirmed")
