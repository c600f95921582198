"""The judge's hands: asks and appends what `core.judge` decides, for sessions that somebody looks at."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.wire import Phase, codec
from holdfast_gateway.core.judge import Probe, Step, StoreFailed, StoreLost
from holdfast_gateway.ports import Appended, Refused
from holdfast_gateway.runtime.session import LiveSession

MESSAGES = {
    "producer_lost": "the producer went silent and did not come back",
    "idle": "nothing was written for too long",
}


def judge(session: LiveSession, now: float, clock: Callable[[], float]) -> None:
    """Let the session's judge look. What it wants is done in the background; it is not asked again until then."""
    state = session.core.state
    hint = None
    if state.phase is Phase.OPEN and state.writer is not None and not state.lost:
        hint = session.source.silent_seconds(state.writer)
    step = session.judge.tick(now, state, hint, session.core.caught_up and session.looked_at(now))
    if step is not None:
        session.tasks.spawn(_act(session, step, clock))


async def _act(session: LiveSession, step: Step, clock: Callable[[], float]) -> None:
    if isinstance(step, Probe):
        await _probe(session, clock)
    else:
        await _store(session, step, clock)


async def _probe(session: LiveSession, clock: Callable[[], float]) -> None:
    tail, ok = session.judge.tail, False
    try:
        ok = await session.source.probe(session.key)
    finally:
        session.judge.probed(ok, tail, clock())


async def _store(session: LiveSession, step: StoreLost | StoreFailed, clock: Callable[[], float]) -> None:
    if isinstance(step, StoreLost):
        draft = codec.lost(step.run)
    else:
        draft = codec.failed(None, step.run, step.reason, MESSAGES[step.reason])
    answered = False
    try:
        result = await session.source.append(session.key, draft, step.expected)
        answered = True
    finally:
        if not answered:
            session.judge.unsettled(clock())
    if isinstance(result, Appended):
        session.judge.stored(clock())
        if isinstance(step, StoreLost):
            session.counters.lost_stored += 1
        else:
            session.counters.failed_stored[step.reason] += 1
    elif isinstance(result, Refused):
        session.judge.refused(clock())
    else:
        session.judge.unsettled(clock())
