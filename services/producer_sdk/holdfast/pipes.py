"""`pipe`: a source's chunks written as one run, from opening to end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeAlias

from holdfast.errors import HoldfastError, SessionCancelled
from holdfast.session import Session

Source: TypeAlias = object
"""An async or sync iterable of chunks, or a callable or awaitable that gives one."""


@dataclass(frozen=True, slots=True)
class PipeResult:
    """How a piped run ended. `cursor` is the place just before it."""

    status: Literal["ended", "cancelled"]
    run: int
    cursor: str
    events: int


async def pipe(session: Session, source: Source, result: object = None) -> PipeResult:
    """Open, write, end. See `Holdfast.pipe`."""
    from holdfast.adapters.sources import close_source, to_events

    opened = False
    try:
        async with session:
            opened = True
            # A timeout without a time: when the run is over for us, it interrupts the source wherever it waits.
            async with asyncio.timeout(None) as until_over:
                interruption = _Interruption(until_over)
                session._over.add_done_callback(interruption)
                async with aclosing(to_events(source)) as events:
                    async for event in events:
                        try:
                            await session.write_async(event.data, event.type)
                        except HoldfastError:
                            interruption.off()  # the source is closed next, and that is not to be interrupted
                            raise
            await session.end(result)
    except SessionCancelled:
        pass
    except TimeoutError:
        if not session.closed or session.error is None:
            raise
        if not isinstance(session.error, SessionCancelled):
            raise session.error.with_traceback(None) from None
    finally:
        if not opened:
            await close_source(source)
    status: Literal["ended", "cancelled"] = "cancelled" if session.cancelled.is_set() else "ended"
    return PipeResult(status, session.run, session.cursor, session.stored_events)


class _Interruption:
    """Ends a scope when the session is over, unless it was turned off before."""

    def __init__(self, scope: asyncio.Timeout) -> None:
        self._scope: asyncio.Timeout | None = scope
        self._loop = asyncio.get_running_loop()

    def __call__(self, over: asyncio.Future[None]) -> None:
        self._set(self._loop.time())

    def off(self) -> None:
        self._set(None)
        self._scope = None

    def _set(self, when: float | None) -> None:
        if self._scope is not None:
            try:
                self._scope.reschedule(when)
            except RuntimeError:
                pass  # the source had ended by itself, or is being interrupted
