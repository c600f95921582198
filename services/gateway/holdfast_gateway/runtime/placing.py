"""Where a new viewer begins, and what it is told first.

P1. Cursors are judged by the log: a place that the ring does not know is looked up at the broker, never guessed.
P2. What a cursor asks for and cannot have is told as `session.gap`, then everything from the earliest left.
P3. 204 only for a cursor at the tail of a session that is over, and only after a second look at the leader, made after
    the subscription: otherwise a client would never see the next run.
P4. A viewer to whom there is nothing to send gets the tail's id at once, so that a cut before its first event costs
    nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Literal

from holdfast.wire import Cursor, Phase
from holdfast_gateway.core import sse
from holdfast_gateway.core.log import ORIGIN, Mark
from holdfast_gateway.core.replay import rest_of
from holdfast_gateway.core.snapshot import SnapshotBuilder
from holdfast_gateway.ports import Located
from holdfast_gateway.runtime.api import SessionUnknown
from holdfast_gateway.runtime.session import LiveSession
from holdfast_gateway.runtime.snapshots import snapshot_of

READS: Final = 5
RETRY_SECONDS: Final = 0.02


@dataclass(slots=True)
class Placed:
    """A place and what goes before it. `exact`: it follows a cursor, without a gap."""

    mark: Mark
    frames: list[bytes] = field(default_factory=list)
    rest: bytes = b""
    lost_sequence: int = 0
    exact: bool = False
    gap: str | None = None
    snapshot: bool = False


async def known(session: LiveSession, wait_seconds: float) -> None:
    """Wait until the session is known to exist. Raises `SessionUnknown`, `SourceUnavailable`."""
    await session.reach(1)
    if not session.core.tail and not (wait_seconds > 0 and await session.appear(wait_seconds)):
        raise SessionUnknown(session.key)


async def place(session: LiveSession, cursor: Cursor | None, start: Literal["start", "now"], snapshot: bool) -> Placed:
    """Find the place. The result holds as long as nothing is awaited. Raises `SourceUnavailable`."""
    core = session.core
    if cursor is not None:
        placed = await _follow_cursor(session, cursor)
        if placed.exact:
            return placed
    elif start == "now":
        await session.caught_up()
        placed = Placed(core.log.tail, lost_sequence=core.tail)
    else:
        placed = Placed(ORIGIN)
    if snapshot:
        await session.caught_up()
        builder = await snapshot_of(session)
        if builder.usable(core.state):
            return _with_snapshot(session, placed, builder)
        if cursor is None and start == "now":
            placed.mark, placed.lost_sequence = core.log.tail, core.tail
    return placed


async def _follow_cursor(session: LiveSession, cursor: Cursor) -> Placed:
    core = session.core
    located = await _locate(session, cursor)
    if located is None or located in (Located.PRESENT, Located.CLEAN):
        rest = b""
        if cursor.item is not None:
            found = await _rest(session, cursor)
            if found is None:
                return await _gap(session, cursor, Located.TRIMMED)
            rest = found
        return Placed(core.place(cursor.sequence), [], rest, cursor.sequence, exact=True)
    return await _gap(session, cursor, located)


async def _locate(session: LiveSession, cursor: Cursor) -> Located | None:
    """None: the ring knows it."""
    core = session.core
    if cursor.incarnation != core.incarnation:
        return Located.FOREIGN
    sequence = cursor.sequence
    await session.reach(sequence)
    if sequence in (0, core.tail):
        return None
    mark = core.log.place(sequence)
    if mark is not None and mark.sequence == sequence:
        return None
    located = await session.source.locate(session.key, cursor.incarnation, sequence)
    if located in (Located.PRESENT, Located.CLEAN) and sequence > core.tail:
        await session.reach(sequence, or_caught_up=False)  # the feed is behind the log
    return located


async def _rest(session: LiveSession, cursor: Cursor) -> bytes | None:
    """What a cursor inside a message leaves of it; None if the message is gone."""
    core, sequence = session.core, cursor.sequence
    assert cursor.item is not None
    mark = core.log.place(sequence)
    if mark is not None:
        entry = core.log.entry(mark) if mark.sequence == sequence else None
        if entry is not None:
            return sse.rest_after(entry, cursor.item)
    for patience in range(READS, -1, -1):  # the leader has it; replicas may be behind
        page = await session.source.read(session.key, sequence, 1)
        if page.records and page.records[0].sequence == sequence:
            state = core.history.before(sequence)
            if state is None:
                state = await session.catchup.state_behind(sequence - 1)
            return rest_of(core.incarnation, state, page.records[0], cursor.item)
        if patience:
            await asyncio.sleep(RETRY_SECONDS)
    return None


async def _gap(session: LiveSession, cursor: Cursor, located: Located) -> Placed:
    """What the cursor asks for cannot be had: say so, then the earliest that is left of it."""
    core = session.core
    await session.caught_up()
    after = max(cursor.sequence if located is Located.TRIMMED else 0, core.erased_at - 1)
    first = await _earliest(session, after)
    mark = core.place(first - 1) if after else ORIGIN
    told = sse.gap(located.value, str(cursor), core.cursor(first), core.cursor(core.tail))
    return Placed(mark, [told], lost_sequence=mark.sequence, gap=located.value)


async def _earliest(session: LiveSession, after: int) -> int:
    """The first sequence left behind this one. Replicas may be behind: the ring is believed, then a few reads."""
    log = session.core.log
    for patience in range(READS, -1, -1):
        if log.covers(after) and after:
            return log.following(after)
        page = await session.source.read(session.key, after, 2)
        first = next((r.sequence for r in page.records if r.sequence > after), None)
        if first is not None:
            return first
        if patience:
            await asyncio.sleep(RETRY_SECONDS)
    return log.following(log.before.sequence)


def _with_snapshot(session: LiveSession, placed: Placed, builder: SnapshotBuilder) -> Placed:
    core = session.core
    cursor = core.cursor(builder.upto)
    frames = [*placed.frames, sse.snapshot(cursor, builder.body(core.incarnation))]
    return Placed(core.place(builder.upto), frames, lost_sequence=builder.upto, gap=placed.gap, snapshot=True)


def prelude(session: LiveSession, placed: Placed, retry_ms: int) -> bytes:
    """The first bytes of the response."""
    core = session.core
    nothing = placed.mark is core.log.tail and not placed.rest and not placed.snapshot
    frames = [sse.opening(retry_ms, core.cursor(core.tail) if nothing else None), *placed.frames, placed.rest]
    lost = core.lost_at(placed.lost_sequence) if placed.lost_sequence else None
    if lost is not None:
        frames.append(sse.producer_lost(lost.run))
    return b"".join(frames)


async def nothing_left(session: LiveSession, placed: Placed, follow: bool) -> bool:
    """Whether 204 is the answer (P3). Raises `SourceUnavailable`."""
    core = session.core
    if not placed.exact or follow or placed.rest or core.state.phase is Phase.OPEN:
        return False
    await session.caught_up()
    if not core.over or placed.mark is not core.log.tail:
        return False
    tail = await session.source.tail(session.key)
    if tail is not None:
        core.expect(tail.sequence)
    return core.over and placed.mark is core.log.tail
