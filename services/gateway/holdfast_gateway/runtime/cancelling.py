"""Stopping a run: one record, one outcome, the same from every pod.

The record is appended unconditionally: by expected sequence it would lose against a busy writer for ever. Whether it
was this one that closed the run is read from the log afterwards, so of two at once exactly one says `cancelled`.
"""

from __future__ import annotations

import asyncio

from holdfast.wire import Kind, Phase, RunState, codec
from holdfast_gateway.ports import Appended, SourceUnavailable
from holdfast_gateway.runtime.api import CancelOutcome
from holdfast_gateway.runtime.session import LiveSession

FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 0.5


async def cancel(session: LiveSession, run: int | str | None, reason: str | None) -> CancelOutcome:
    """Cancel a run of a session whose feed is open. Raises `SourceUnavailable` where the outcome is not known."""
    core = session.core
    await session.caught_up()
    target = _target(session, core.state, run)
    if isinstance(target, CancelOutcome):
        return target
    before, writer = core.tail, core.state.writer
    sequence, doubted = await _append(session, target, reason)
    if writer is not None:  # a model that thinks would learn at its next renewal only
        session.source.nudge(session.key, writer)
    await session.reach(sequence, or_caught_up=False)
    after = core.history.before(sequence + 1)
    if after is not None and after.closed_by is Kind.CANCELLED:
        first = before + 1 if doubted else sequence  # an attempt without an answer may have been the one
        if first <= after.closed_at <= sequence:
            return CancelOutcome.CANCELLED
    if isinstance(target, str) and after is not None and target in after.cancelled_names:
        return CancelOutcome.REMEMBERED
    return CancelOutcome.ALREADY_CLOSED


def _target(session: LiveSession, state: RunState, run: int | str | None) -> int | str | CancelOutcome:
    """What to name in the record, or the outcome if there is nothing to append."""
    is_open = state.phase is Phase.OPEN
    if run is None:
        if is_open:
            return state.run
        return CancelOutcome.ALREADY_CLOSED if state.run else CancelOutcome.UNKNOWN
    if isinstance(run, str):
        if is_open and state.name == run:
            return state.run  # by number, which also a reader knows whose log does not reach back to the start
        if run in state.cancelled_names:
            return CancelOutcome.REMEMBERED
        return CancelOutcome.ALREADY_CLOSED if session.core.history.knows_run(run) else run
    if is_open and state.run == run:
        return run
    return CancelOutcome.ALREADY_CLOSED if session.core.history.knows_run(run) else CancelOutcome.UNKNOWN


async def _append(session: LiveSession, target: int | str, reason: str | None) -> tuple[int, bool]:
    """Append until it is known to be stored; a second record of the same is void. Also: whether it took several
    tries.
    """
    delay = FIRST_RETRY_SECONDS
    draft = codec.cancelled(target, reason)
    doubted = False
    try:
        async with asyncio.timeout(session.settings.broker_wait_seconds):
            while True:
                result = await session.source.append(session.key, draft, None)
                if isinstance(result, Appended):
                    return result.sequence, doubted
                doubted = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY_SECONDS)
    except TimeoutError:
        raise SourceUnavailable(f"session {session.key.session!r}: the cancel could not be stored") from None
