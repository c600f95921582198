"""A live session: one feed from the broker, one fold, many viewers.

Opened from the session's first record, so that the state is the log's and nobody else's; kept for a while after its
last viewer; ended when the broker's stream is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from holdfast.wire import Phase, Record, SessionKey
from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.core.judge import Judge, Rule
from holdfast_gateway.core.log import RingBudget
from holdfast_gateway.core.session import SessionCore
from holdfast_gateway.ports import Feed, SessionSource, SourceUnavailable
from holdfast_gateway.runtime.api import HubSettings
from holdfast_gateway.runtime.catchup import CatchUp
from holdfast_gateway.runtime.counters import Counters
from holdfast_gateway.runtime.fanout import FanOut
from holdfast_gateway.runtime.tasks import OwnedTasks
from holdfast_gateway.runtime.viewer import LiveViewer

START_WITHIN_SECONDS = 10.0
"""How long an admitted viewer may take to send its head."""


class _Waiter:
    """Somebody waits for a record, or for the feed to have caught up."""

    __slots__ = ("caught_up", "future", "sequence")

    def __init__(self, sequence: int, caught_up: bool, future: asyncio.Future[None]) -> None:
        self.sequence = sequence
        self.caught_up = caught_up
        self.future = future


class LiveSession:
    """Implements `ports.FeedSink`. `holds` counts requests that use the session without being viewers."""

    def __init__(
        self,
        key: SessionKey,
        incarnation: str,
        source: SessionSource,
        settings: HubSettings,
        budget: RingBudget,
        counters: Counters,
        tasks: OwnedTasks,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_left: Callable[[LiveSession, CloseReason], None],
        on_gone: Callable[[LiveSession], None],
        on_lost: Callable[[LiveSession], None],
    ) -> None:
        self.key = key
        self.source = source
        self.settings = settings
        self.counters = counters
        self.tasks = tasks
        self.core = SessionCore(incarnation, settings.ring_session_bytes, budget, counters)
        self.fanout = FanOut(self.core, settings.lag_bytes, counters, clock)
        self.catchup = CatchUp(self)
        self.fanout.bind(self.catchup)
        self.judge = Judge(Rule(settings.hint_lost_seconds, settings.grace_seconds, settings.idle_seconds), clock())
        self.building = asyncio.Lock()
        """Held while the snapshot is read."""
        self.holds = 0
        self.closed = False
        self.used_at = clock()
        """When the last viewer or request left."""
        self.silent_since = clock()
        """Since when there was nothing for the viewers, to the second."""
        self._admitted: dict[LiveViewer, float] = {}
        self._waiters: list[_Waiter] = []
        self._clock = clock
        self._wall = wall
        self._on_left = on_left
        self._on_gone = on_gone
        self._on_lost = on_lost
        self._feed: Feed | None = None

    def open(self) -> None:
        """Begin to follow the log."""
        self._feed = self.source.open_feed(self.key, self, after=0)

    # ------------------------------------------------------------------------------------------ the feed's sink

    def on_records(self, records: Sequence[Record]) -> None:
        core = self.core
        tail, erased = core.log.tail, core.erased_at
        for record in records:
            core.apply(record)
        self.judge.saw(core.tail, self._clock())
        if core.erased_at != erased:
            self.catchup.clear()
        if core.log.tail is not tail or core.over:  # a void record may be the one that was waited for
            self.fanout.wake()
        if core.state.lost:
            self._on_lost(self)
        if self._waiters:
            self._tell_waiters()

    def on_caught_up(self) -> None:
        self.core.caught_up = True
        if self.core.tail_seconds > 0:
            self.judge.first_look(self._wall() - self.core.tail_seconds, self._clock())
        self.fanout.wake()
        self._tell_waiters()

    def on_gap(self, earliest: int) -> None:
        tail = self.core.log.tail
        self.core.gap(earliest)
        if self.core.log.tail is not tail:
            self.counters.gaps["trimmed"] += len(self.fanout)
            self.fanout.wake()

    def on_trouble(self) -> None:
        self.counters.troubles += 1
        self.judge.trouble(self._clock())

    def on_gone(self, reason: str) -> None:
        self.counters.feeds_gone += 1
        self._on_gone(self)
        self.close(CloseReason.MOVED)

    # ------------------------------------------------------------------------------------------ viewers

    @property
    def viewers(self) -> int:
        return len(self._admitted) + len(self.fanout) + len(self.catchup)

    def admit(self, viewer: LiveViewer) -> None:
        """The viewer has its place and will start soon."""
        self._admitted[viewer] = self._clock() + START_WITHIN_SECONDS

    def begun(self, viewer: LiveViewer) -> None:
        """The viewer's response has begun."""
        self._admitted.pop(viewer, None)
        self.fanout.begin(viewer)

    def left(self, viewer: LiveViewer, reason: CloseReason) -> None:
        """The viewer has ended."""
        self._admitted.pop(viewer, None)
        self.fanout.forget(viewer)
        self.catchup.forget(viewer)
        self.used_at = self._clock()
        self._on_left(self, reason)

    def all_viewers(self) -> list[LiveViewer]:
        """Every viewer, in whatever state."""
        return [*self._admitted, *self.fanout.viewers(), *self.catchup.viewers()]

    def release_unstarted(self, now: float) -> None:
        """Let go of viewers whose head was never sent."""
        for viewer in [v for v, by in self._admitted.items() if now > by]:
            viewer.detach()

    # ------------------------------------------------------------------------------------------ waiting

    async def reach(self, sequence: int, *, or_caught_up: bool = True) -> None:
        """Wait until the fold has this sequence, or (if that counts) the feed has caught up.

        Raises `SourceUnavailable` when nothing at all has moved for `broker_wait_seconds`. May be cancelled.
        """
        core = self.core
        while not (core.tail >= sequence or (or_caught_up and core.caught_up)):
            before = core.tail
            try:
                async with asyncio.timeout(self.settings.broker_wait_seconds):
                    await self._wait(sequence, or_caught_up)
            except TimeoutError:
                if core.tail == before:
                    raise SourceUnavailable(f"session {self.key.session!r}: the log cannot be read") from None

    async def caught_up(self) -> None:
        """Wait until the feed has caught up. Raises as `reach` does."""
        await self.reach(1 << 63)

    async def appear(self, wait_seconds: float) -> bool:
        """Wait for the session's first record. False: none within the time."""
        try:
            async with asyncio.timeout(wait_seconds):
                await self._wait(1, False)
        except TimeoutError:
            pass
        return self.core.tail > 0

    async def _wait(self, sequence: int, caught_up: bool) -> None:
        if self.closed:
            raise SourceUnavailable(f"session {self.key.session!r}: the broker's stream was replaced")
        waiter = _Waiter(sequence, caught_up, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.future
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _tell_waiters(self) -> None:
        core = self.core
        for waiter in self._waiters:
            if (core.tail >= waiter.sequence or (waiter.caught_up and core.caught_up)) and not waiter.future.done():
                waiter.future.set_result(None)

    # ------------------------------------------------------------------------------------------ life

    @property
    def open_run(self) -> bool:
        return self.core.state.phase is Phase.OPEN

    def looked_at(self, now: float) -> bool:
        """Whether somebody watches, or has asked a moment ago."""
        return self.holds > 0 or self.viewers > 0 or now - self.used_at < self.settings.linger_seconds

    def linger_over(self, now: float) -> bool:
        """Whether the feed may go. A session that holds nothing is not kept."""
        if self.holds or self.viewers:
            return False
        return self.core.tail == 0 or now - self.used_at >= self.settings.linger_seconds

    def close(self, reason: CloseReason) -> None:
        """Close the feed and every viewer, and give the ring back. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if self._feed is not None:
            self._feed.close()
        for viewer in self.all_viewers():
            viewer.close(reason)
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(
                    SourceUnavailable(f"session {self.key.session!r}: the broker's stream was replaced")
                )
        self.core.log.clear()
        self.catchup.clear()
