"""For any schedule of appends, reads, leavings, resumes and trims: each viewer sees a strictly increasing sequence
without a hole, or is told of the gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.serving import MemoryStore, StoreStreamer

STEP = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 6)),
    st.tuples(st.just("attach"), st.just(0)),
    st.tuples(st.just("take"), st.integers(0, 3)),
    st.tuples(st.just("leave"), st.integers(0, 3)),
)


class Viewer:
    """What one browser has seen over all its connections."""

    def __init__(self, streamer: StoreStreamer) -> None:
        self.streamer = streamer
        self.last_id: str | None = None
        self.next = 0
        self.events: AsyncGenerator[dict[str, Any], None] | None = None
        self.ended = 0

    async def take(self, pushed: int) -> None:
        """One event, if there is one to come."""
        if self.next >= pushed:
            return
        if self.events is None:
            self.events = self.streamer.stream("s", last_id=self.last_id)
        self.see(await anext(self.events))

    def see(self, event: dict[str, Any]) -> None:
        if event["event"] == "gap":
            assert json.loads(event["data"])["reason"] == "trimmed"
            self.next = -1
        elif event["event"] == "end":
            self.ended += 1
        else:
            n = int(event["data"])
            assert self.next in (n, -1), f"saw {n} where {self.next} was next"
            self.next = n + 1
            self.last_id = event["id"]

    async def leave(self) -> None:
        if self.events is not None:
            await self.events.aclose()
        self.events = None

    async def finish(self) -> None:
        if self.events is None:
            self.events = self.streamer.stream("s", last_id=self.last_id)
        async for event in self.events:
            self.see(event)


async def run(steps: list[tuple[str, int]], max_events: int, ring_bytes: int) -> None:
    streamer = StoreStreamer(MemoryStore(max_events=max_events), ring_bytes=ring_bytes, owns_store=True)
    viewers, pushed = [Viewer(streamer)], 0
    await streamer.push("s", "0")
    pushed += 1
    for what, n in steps:
        if what == "push":
            for _ in range(n):
                await streamer.push("s", str(pushed))
                pushed += 1
        elif what == "attach" and len(viewers) < 4:
            viewers.append(Viewer(streamer))
        elif what == "take":
            await viewers[n % len(viewers)].take(pushed)
        elif what == "leave":
            await viewers[n % len(viewers)].leave()
    await streamer.mark_end("s")
    for viewer in viewers:
        await viewer.finish()
        assert (viewer.next, viewer.ended) == (pushed, 1)
    await streamer.aclose()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=60), st.sampled_from([3, 10, 1000]), st.sampled_from([1, 200, 100_000]))
def test_every_schedule(steps: list[tuple[str, int]], max_events: int, ring_bytes: int) -> None:
    asyncio.run(run(steps, max_events, ring_bytes))
