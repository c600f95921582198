"""A session being written from threads: the same names and guarantees as `holdfast.Session`."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.coalescer import Coalescer
from holdfast.errors import HoldfastError
from holdfast.session import Session as AsyncSession
from holdfast.sync.background import BackgroundLoop
from holdfast.wire import Event, event
from holdfast.wire.event import MESSAGE

if TYPE_CHECKING:
    from holdfast.sync.client import Holdfast

T = TypeVar("T")


class LockedCoalescer(Coalescer):
    """A buffer that one thread fills while the loop's empties it."""

    __slots__ = ("_lock",)

    def __init__(self, interval_seconds: float, limit_bytes: int, limit_events: int) -> None:
        super().__init__(interval_seconds, limit_bytes, limit_events)
        self._lock = threading.RLock()

    def add(self, event: Event) -> None:
        with self._lock:
            super().add(event)

    def take(self, now: float) -> list[Event]:
        with self._lock:
            return super().take(now)

    def settled(self, events: list[Event]) -> None:
        with self._lock:
            super().settled(events)

    def clear(self) -> None:
        with self._lock:
            super().clear()


class Session:
    """One run of a session: `with hf.session("chat-42") as s`. Any thread may use it.

    A child process that inherits one by a fork cannot use it: the run is its parent's, and leaving the block there
    does nothing.
    """

    def __init__(self, owner: Holdfast, background: BackgroundLoop, made: AsyncSession) -> None:
        self._owner = owner
        self._background = background
        self._session = made
        self._pid = os.getpid()
        self._scheduled = False
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        settings = made._settings
        made._writer.buffer = LockedCoalescer(settings.interval_seconds, settings.buffer_bytes, settings.buffer_events)
        made.on_cancel(self._cancelled.set)

    @property
    def id(self) -> str:
        return self._session.id

    @property
    def run(self) -> int:
        """The run: the sequence of its opening message. 0 before it is open."""
        return self._session.run

    @property
    def run_id(self) -> str | None:
        return self._session.run_id

    @property
    def writer_id(self) -> str:
        return self._session.writer_id

    @property
    def cursor(self) -> str:
        """The place just before this run."""
        return self._session.cursor

    @property
    def history(self) -> tuple[Event, ...]:
        """What the run had said when `resume` took it over."""
        return self._session.history

    @property
    def stored_events(self) -> int:
        return self._session.stored_events

    @property
    def pending_events(self) -> int:
        return self._session.pending_events

    @property
    def error(self) -> HoldfastError | None:
        """What ended the run, if it was not its own end."""
        return self._session.error

    @property
    def closed(self) -> bool:
        return self._session.closed

    @property
    def cancelled(self) -> threading.Event:
        """Set when somebody stopped the run. `write` raises `SessionCancelled` from then on."""
        return self._cancelled

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call back, in the background thread, when the run is stopped."""
        self._background.loop.call_soon_threadsafe(self._session.on_cancel, callback)

    def write(self, value: object, type: str = MESSAGE) -> None:
        """Queue an event; never waits. Raises as `holdfast.Session.write` does; `write_wait` waits for room."""
        if self._pid != os.getpid():
            self._check_process()
        self._session._writer.write(event(value, type, limit_bytes=self._session._owner._max_event_bytes))
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        self._background.loop.call_soon_threadsafe(self._moved)

    def _moved(self) -> None:
        with self._lock:
            self._scheduled = False
        self._session._wake()

    def write_wait(self, value: object, type: str = MESSAGE) -> None:
        """Like `write`, and waits for room instead of raising `BufferFull`."""
        self._run(self._session.write_async(value, type))

    def drain(self) -> None:
        """Wait until all that was written before this call is stored."""
        self._run(self._session.drain())

    def reset(self) -> None:
        """Void what the run has said so far."""

        async def reset() -> None:
            self._session.reset()

        self._run(reset())

    def end(self, result: object = None) -> None:
        """End the run after all that was written, with an optional JSON value."""
        self._run(self._session.end(result))

    def fail(self, reason: str, message: str = "") -> None:
        """End the run as failed."""
        self._run(self._session.fail(reason, message))

    def open(self) -> Session:
        """Open the run. `with` does this."""
        self._run(self._session.open())
        return self

    def stop(self) -> bool:
        """Store what is queued and `failed {reason: producer_stopped}`, within 2 s. True if both are stored."""
        return self._run(self._session.stop())

    def __enter__(self) -> Session:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._pid != os.getpid():
            return
        # A process that is told to stop is no failing model: Ctrl-C and sys.exit are what cancellation is elsewhere.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            error = asyncio.CancelledError()
        self._run(self._session.__aexit__(type(error) if error is not None else None, error, None))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._pid != os.getpid():
            work.close()
            self._check_process()
        return self._background.run(work)

    def _check_process(self) -> None:
        raise RuntimeError(f"session {self.id} belongs to process {self._pid}: open one in this process")
