"""The hub: every session this pod serves, and the door through which viewers and requests come to them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Literal

from holdfast.wire import Cursor, SessionKey
from holdfast_gateway.ports import SessionSource
from holdfast_gateway.runtime.api import (
    Attached,
    CancelOutcome,
    HubSettings,
    NothingLeft,
    Refused,
    SessionView,
    SnapshotView,
)
from holdfast_gateway.runtime.counters import Counters


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

    async def __aenter__(self) -> Hub:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

    async def state(self, key: SessionKey) -> SessionView:
        """Where the session stands. Somebody looks: a dead producer's run is judged from here on.

        Raises `SessionUnknown`, `SourceUnavailable`.
        """
        raise NotImplementedError

    async def snapshot(self, key: SessionKey) -> SnapshotView:
        """The open or last run, joined. Raises `SessionUnknown` (also for a session without a run),
        `SnapshotTooLarge`, `SourceUnavailable`."""
        raise NotImplementedError

    async def cancel(self, key: SessionKey, run: int | str | None = None, reason: str | None = None) -> CancelOutcome:
        """Stop a run: the open one (None), one by its opening sequence, or by the name its caller chose.

        Raises `SourceUnavailable` where it is not known whether the cancel was stored; asking again is safe.
        """
        raise NotImplementedError

    @property
    def viewers(self) -> int:
        """Viewers on this pod."""
        raise NotImplementedError

    @property
    def sessions(self) -> int:
        """Sessions with a feed on this pod."""
        raise NotImplementedError

    @property
    def ring_bytes(self) -> int:
        """Bytes in all rings of this pod."""
        raise NotImplementedError

    @property
    def draining(self) -> bool:
        """Whether new viewers are refused."""
        raise NotImplementedError

    async def drain(self, window_seconds: float) -> None:
        """Refuse new viewers and close all others as `draining`, evenly spread over the window, so that they do not
        come back all at once. Returns when the last one is closed. Idempotent."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every viewer as `stopped`, every feed, and all background work. Idempotent."""
        raise NotImplementedError
