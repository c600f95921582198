"""Telling viewers of a dead producer, where no gateway does: the log's rule for it, followed by whoever serves.

Silence for the lease: `lost` is appended, which harms nobody. Still nothing for the grace, of which every look was
answered by the stream's leader: `failed {producer_lost}`. Both by expected sequence, so of all processes and gateways
one wins, and a producer that can still write is never closed. (`docs/protocol.md` has the models behind it.)
"""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast import operations
from holdfast.answer import Verdict
from holdfast.errors import HoldfastError
from holdfast.log import Log, Place
from holdfast.serving.nats_log import Answer, catch_up
from holdfast.wire import Draft, codec

LOOK_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 20.0
"""Above the 12 s for which a leader without a quorum may still answer."""

NEVER: Final = 1 << 62
"""An expected sequence that no log has: the leader must refuse it, and says its tail."""


async def guard(log: Log, place: Place, answer: Answer, *, idle_seconds: float, grace_seconds: float) -> None:
    """Watch over the open run until it ends."""
    clock = asyncio.get_running_loop().time
    tail, since = -1, clock()
    while answer.end is None:
        lease = answer.state.lease_seconds or idle_seconds
        await asyncio.sleep(min(LOOK_SECONDS, lease / 4, grace_seconds / 4))
        try:
            await catch_up(log, place, answer)
            # A failed look proves nothing about the producer, so the clock begins again.
            if answer.last != tail or not await _leader_agrees(log, place, answer):
                tail, since = answer.last, clock()
                continue
        except HoldfastError:
            since = clock()
            continue
        lost = answer.state.lost
        if clock() - since >= (grace_seconds if lost else lease):
            draft = codec.failed(None, answer.run, "producer_lost") if lost else codec.lost(answer.run)
            await _append_if_still(log, place, draft, tail)


async def _leader_agrees(log: Log, place: Place, answer: Answer) -> bool:
    """Whether the leader has the same tail: an append that it must refuse."""
    told = await operations.append(log, place, codec.lost(answer.run), NEVER)
    return told.verdict is Verdict.REFUSED and told.sequence == answer.last


async def _append_if_still(log: Log, place: Place, draft: Draft, tail: int) -> None:
    # Whatever it says, the next look shows what came of it.
    await operations.append(log, place, draft, tail)
