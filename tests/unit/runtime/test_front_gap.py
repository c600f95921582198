"""A log whose beginning is trimmed: told to whoever wants it, and only to them."""

from __future__ import annotations

import pytest

from holdfast.wire import codec, event
from holdfast_gateway.ports import Appended
from tests.unit.runtime.virtual_time import settle, virtual
from tests.unit.runtime.world import KEY, World, told, world


async def a_trimmed_run(w: World, texts: str) -> int:
    """A run of one event a message, each appended by expected sequence, of which start and first event are gone."""
    last = 0
    for draft in [codec.start("w-1"), *(codec.data([event(t)], writer="w-1", run=1) for t in texts)]:
        done = await w.source.append(KEY, draft, last)
        assert isinstance(done, Appended)
        last = done.sequence
    await settle()
    w.source.trim(KEY, 2)
    return last


@pytest.mark.parametrize("ring", [1 << 20, 600])
@virtual
async def test_a_cursor_behind_which_nothing_is_missing_is_told_of_no_gap(ring: int) -> None:
    """Its message is gone, and the first one left points at it."""
    async with world(ring_session_bytes=ring) as w:
        await a_trimmed_run(w, "abcdefghij")
        assert told(await w.watch(w.other, cursor=w.cursor(2))) == list("bcdefghij")
        assert told(await w.watch(w.other, cursor=w.cursor(4))) == list("defghij")


@pytest.mark.parametrize("ring", [1 << 20, 600])
@virtual
async def test_who_wants_the_beginning_is_told_that_it_is_gone(ring: int) -> None:
    """Once, with places as cursors."""
    async with world(ring_session_bytes=ring) as w:
        last = await a_trimmed_run(w, "abcdefghij")
        for asked in ({}, {"cursor": w.cursor(0)}):
            sink = await w.watch(w.other, **asked)
            assert told(sink) == ["gap", *"bcdefghij"]
            assert sink.seen[0].json == {
                "reason": "trimmed",
                "requested": None,
                "earliest": w.id(3),
                "latest": None,
            }
            assert sink.seen[0].id is None
            assert sink.last_id == w.id(last)


@virtual
async def test_a_trimmed_cursor_is_told_of_one_gap() -> None:
    """Not of the cursor's and the log's."""
    async with world() as w:
        await a_trimmed_run(w, "abcdefghij")
        assert told(await w.watch(w.other, cursor=w.cursor(1))) == ["gap", *"bcdefghij"]
