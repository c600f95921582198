"""The snapshot of a live session: read from the broker when first asked for, kept up with the fold from then on."""

from __future__ import annotations

import asyncio

from holdfast.wire import step
from holdfast_gateway.core.snapshot import SnapshotBuilder
from holdfast_gateway.ports import SourceUnavailable
from holdfast_gateway.runtime.session import LiveSession

RETRY_SECONDS = 0.02
_FIRST = 1


async def snapshot_of(session: LiveSession) -> SnapshotBuilder:
    """The session's snapshot as of now, complete up to the fold's tail; true until something is awaited.

    Whoever asks first reads, others wait for it. Raises `SourceUnavailable`
    when the log cannot be read up to what the feed has shown for `broker_wait_seconds`.
    """
    core = session.core
    if core.snapshot is not None:
        return core.snapshot
    async with session.building:
        if core.snapshot is None:
            try:
                async with asyncio.timeout(session.settings.broker_wait_seconds) as limit:
                    core.snapshot = await _build(session, limit)
            except TimeoutError:
                raise SourceUnavailable(f"session {session.key.session!r}: the log cannot be read") from None
    return core.snapshot


async def _build(session: LiveSession, limit: asyncio.Timeout) -> SnapshotBuilder:
    core, settings = session.core, session.settings
    builder = SnapshotBuilder(settings.snapshot_bytes)
    run = core.state.run
    place = max(run, core.erased_at, _FIRST) - 1
    state = core.history.before(place + 1)
    if state is None:
        state = await session.catchup.state_behind(place)
    loop = asyncio.get_running_loop()
    while place < core.tail:
        page = await session.source.read(session.key, place + 1, settings.page_records)
        for record in page.records:
            if record.sequence > core.tail:
                break
            state, outputs = step(state, record)
            builder.take(record, outputs, state)
            place = record.sequence
            limit.reschedule(loop.time() + settings.broker_wait_seconds)
        if not page.records:
            if core.erased_at > place:
                place = core.erased_at - 1
            await asyncio.sleep(RETRY_SECONDS)
        if session.closed:
            raise SourceUnavailable(f"session {session.key.session!r}: the broker's stream was replaced")
    return builder
