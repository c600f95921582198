"""The hub: every session this pod serves, and the door through which viewers and requests come to them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final, Literal

from holdfast.wire import Cursor, Phase, SessionKey
from holdfast_gateway.core import sse
from holdfast_gateway.core.admission import Admission
from holdfast_gateway.core.close_reasons import CloseReason, RefusalReason
from holdfast_gateway.core.log import RingBudget
from holdfast_gateway.core.pieces import Piece
from holdfast_gateway.ports import SessionSource, SourceUnavailable
from holdfast_gateway.runtime import placing
from holdfast_gateway.runtime.api import (
    Attached,
    CancelOutcome,
    HubSettings,
    NothingLeft,
    Refused,
    SessionUnknown,
    SessionView,
    SnapshotTooLarge,
    SnapshotView,
)
from holdfast_gateway.runtime.cancelling import cancel
from holdfast_gateway.runtime.counters import Counters
from holdfast_gateway.runtime.draining import drain
from holdfast_gateway.runtime.judging import judge
from holdfast_gateway.runtime.session import LiveSession
from holdfast_gateway.runtime.sessions import Sessions
from holdfast_gateway.runtime.snapshots import snapshot_of
from holdfast_gateway.runtime.tasks import OwnedTasks
from holdfast_gateway.runtime.viewer import LiveViewer

TICK_SECONDS: Final = 0.25
"""How often lost producers are looked at; everything else is looked at once a second."""

_TICKS_A_SECOND: Final = 4
SESSIONS_AT_ONCE: Final = 100
"""How many are looked at before the loop goes on: ten thousand sessions must not stop it for a tenth of a second."""
_HEARTBEAT: Final = Piece(sse.HEARTBEAT)


class Hub:
    """All live sessions of a pod. One per event loop.

    Use as an async context manager: leaving it closes every viewer as `stopped` and ends all background work.
    It does not close the source.
    """

    def __init__(
        self,
        source: SessionSource,
        settings: HubSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        dice: random.Random | None = None,
    ) -> None:
        """`clock` is monotonic, `wall` Unix time; both in seconds. `dice` gives the jitter of `retry:`."""
        self.counters = Counters()
        self.settings = settings or HubSettings()
        self._source = source
        self._clock = clock
        self._wall = wall
        self._dice = dice or random.Random()
        self._budget = RingBudget(self.settings.ring_pod_bytes)
        self._admission = Admission(self.settings.max_viewers, self.settings.max_viewers_per_session)
        self._tasks = OwnedTasks(self._failed)
        self._registry = Sessions(self._make, source, self.settings.broker_wait_seconds, self._tasks, clock)
        self._sessions = self._registry.live
        self._emptied = asyncio.Event()

    async def __aenter__(self) -> Hub:
        self._tasks.spawn(self._tick())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------------ viewers

    async def attach(
        self,
        key: SessionKey,
        *,
        cursor: Cursor | None = None,
        start: Literal["start", "now"] = "start",
        follow: bool = False,
        snapshot: bool = False,
        wait_seconds: float = 0.0,
    ) -> Attached | NothingLeft | Refused:
        """Admit a viewer and find its place; the caller then sends the head and calls `viewer.start(sink)`.

        With a cursor, `start` is not looked at, and `snapshot` only where the cursor cannot be followed.

        Raises:
            SessionUnknown: nothing is stored of this session, also `wait_seconds` later.
            SourceUnavailable: the broker could not be asked within `broker_wait_seconds`.

        Cancelling it leaves nothing behind.
        """
        known = self._sessions.get(key)
        refusal = self._admission.admit(known.viewers if known is not None else 0)
        if refusal is not None:
            return self._refused(refusal)
        admitted = False
        try:
            async with self._registry.held(key) as session:
                await placing.known(session, wait_seconds)
                placed = await placing.place(session, cursor, start, snapshot)
                if await placing.nothing_left(session, placed, follow):
                    self.counters.nothing_left += 1
                    return NothingLeft()
                if session.closed:
                    raise SourceUnavailable(f"session {key.session!r}: the broker's stream was replaced")
                if self._admission.draining:  # it began while this request waited
                    return self._refused(RefusalReason.DRAINING)
                if placed.gap is not None:
                    self.counters.gaps[placed.gap] += 1
                prelude = placing.prelude(session, placed, self._retry_ms())
                viewer = LiveViewer(session, placed.mark, follow, prelude)
                session.admit(viewer)
                admitted = True
                self.counters.attached += 1
                return Attached(viewer)
        finally:
            if not admitted:
                self._release()

    def _refused(self, reason: RefusalReason) -> Refused:
        self.counters.refused[str(reason)] += 1
        return Refused(reason, sse.refusal(str(reason), self._retry_ms()))

    def _left(self, session: LiveSession, reason: CloseReason) -> None:
        self.counters.closed[reason.word] += 1
        self._release()

    def _release(self) -> None:
        self._admission.release()
        if not self._admission.viewers:
            self._emptied.set()

    def _retry_ms(self) -> int:
        return self._dice.randint(self.settings.retry_min_ms, self.settings.retry_max_ms)

    # ------------------------------------------------------------------------------------------ requests

    async def state(self, key: SessionKey) -> SessionView:
        """Where the session stands. Somebody looks: a dead producer's run is judged from here on.

        Raises `SessionUnknown`, `SourceUnavailable`.
        """
        async with self._registry.held(key) as session:
            await placing.known(session, 0.0)
            await session.caught_up()
            core = session.core
            state = core.state
            return SessionView(
                key,
                state.status,
                state.run,
                state.name,
                Cursor(core.incarnation, core.tail),
                core.tail_seconds,
                session.viewers,
                dict(state.payload) if state.phase is Phase.CLOSED else {},
            )

    async def snapshot(self, key: SessionKey) -> SnapshotView:
        """The open or last run, joined. Raises `SessionUnknown` (also for a session without a run),
        `SnapshotTooLarge`, `SourceUnavailable`."""
        async with self._registry.held(key) as session:
            await placing.known(session, 0.0)
            await session.caught_up()
            builder = await snapshot_of(session)
            if builder.too_large:
                raise SnapshotTooLarge(key, self.settings.snapshot_bytes)
            if not builder.run:
                raise SessionUnknown(key)
            core = session.core
            return SnapshotView(Cursor(core.incarnation, builder.upto), builder.body(core.incarnation))

    async def cancel(self, key: SessionKey, run: int | str | None = None, reason: str | None = None) -> CancelOutcome:
        """Stop a run: the open one (None), one by its opening sequence, or by the name its caller chose.

        Raises `SourceUnavailable` where it is not known whether the cancel was stored; asking again is safe.
        """
        async with self._registry.held(key) as session:
            outcome = await cancel(session, run, reason)
            self.counters.cancels[outcome.value] += 1
            return outcome

    # ------------------------------------------------------------------------------------------ figures

    @property
    def viewers(self) -> int:
        """Viewers on this pod."""
        return self._admission.viewers

    @property
    def sessions(self) -> int:
        """Sessions with a feed on this pod."""
        return len(self._sessions)

    @property
    def ring_bytes(self) -> int:
        """Bytes in all rings of this pod."""
        return self._budget.size_bytes

    @property
    def draining(self) -> bool:
        """Whether new viewers are refused."""
        return self._admission.draining

    # ------------------------------------------------------------------------------------------ the end

    async def drain(self, window_seconds: float) -> None:
        """Refuse new viewers and close all others as `draining`, evenly spread over the window, so that they do not
        come back all at once. Returns when the last one is closed. Idempotent."""
        self._admission.draining = True
        await drain(self._all_viewers, window_seconds, self._dice)
        while self._admission.viewers:  # requests that were admitted before and have not started
            self._emptied.clear()
            await self._emptied.wait()

    async def close(self) -> None:
        """Close every viewer as `stopped`, every feed, and all background work. Idempotent."""
        self._admission.draining = True
        self._registry.close()
        await self._tasks.close()

    def _all_viewers(self) -> list[LiveViewer]:
        return [viewer for session in self._sessions.values() for viewer in session.all_viewers()]

    # ------------------------------------------------------------------------------------------ the clock's work

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            now = self._clock()
            for session in list(self._registry.lost):
                if session.core.state.lost:
                    judge(session, now, self._clock)
                else:
                    self._registry.lost.discard(session)
            if not ticks % _TICKS_A_SECOND:
                everyone = list(self._sessions.values())
                for at in range(0, len(everyone), SESSIONS_AT_ONCE):
                    self._every_second(ticks // _TICKS_A_SECOND, now, everyone[at : at + SESSIONS_AT_ONCE])
                    await asyncio.sleep(0)

    def _every_second(self, second: int, now: float, sessions: list[LiveSession] | None = None) -> None:
        """What is due for these sessions, or for all."""
        beat = self.settings.heartbeat_seconds
        parts = max(1, round(beat))
        for session in list(self._sessions.values()) if sessions is None else sessions:
            if session.closed:
                continue
            if not session.core.state.lost:
                judge(session, now, self._clock)
            session.release_unstarted(now)
            session.catchup.close_lagging(self.settings.lag_bytes)
            if session.fanout.wrote:
                session.fanout.wrote, session.silent_since = False, now
            elif beat and now - session.silent_since >= beat:
                session.fanout.heartbeat(_HEARTBEAT, second % parts, parts)
            if session.linger_over(now):
                self._registry.drop(session)

    def _make(self, key: SessionKey, incarnation: str) -> LiveSession:
        return LiveSession(
            key,
            incarnation,
            self._source,
            self.settings,
            self._budget,
            self.counters,
            self._tasks,
            self._clock,
            self._wall,
            self._left,
            self._registry.forget,
            self._registry.lost.add,
        )

    def _failed(self) -> None:
        self.counters.failures += 1
