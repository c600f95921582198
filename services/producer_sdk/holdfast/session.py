"""A session being written: the state machine of `holdfast.writer` with its I/O and its timers.

No task runs per session: answers come as callbacks, waiting is one timer, and a write only marks the session for the
next turn of the event loop. So one process holds thousands of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final

from holdfast.actions import Look, Send, Settings, Sleep
from holdfast.answer import Answer
from holdfast.errors import BrokerUnavailable, BufferFull, HoldfastError, SessionCancelled, StreamReplaced
from holdfast.log import Page, Place
from holdfast.wire import Event, event
from holdfast.wire.event import MESSAGE
from holdfast.writer import SessionWriter

if TYPE_CHECKING:
    from holdfast.client import Holdfast

STOP_FLUSH_SECONDS: Final = 2.0
"""How long a stopping process tries to tell the log that it stops."""

FAIL_FLUSH_SECONDS: Final = 15.0
"""How long a block that failed tries to tell the log so: longer than an election (4 to 9 s)."""

FailureText = str | Callable[[BaseException], str] | None


class Session:
    """One run of a session, as its writer has it. Use it as `async with hf.session("chat-42") as s`.

    Leaving the block ends the run; leaving it by an exception fails it, with the exception's class as the message
    unless `failure_message` chose another text (never a traceback); being cancelled fails it as `producer_stopped`.
    """

    __slots__ = (
        "__weakref__",
        "_armed",
        "_callbacks",
        "_cancelled",
        "_drains",
        "_entered",
        "_failure_message",
        "_log",
        "_loop",
        "_open_timeout",
        "_opening",
        "_over",
        "_owner",
        "_place",
        "_poked_at",
        "_room",
        "_sent",
        "_settings",
        "_timer",
        "_timer_at",
        "_writer",
        "id",
    )

    def __init__(
        self,
        owner: Holdfast,
        session_id: str,
        settings: Settings,
        *,
        failure_message: FailureText = None,
        open_timeout_seconds: float = 20.0,
    ) -> None:
        self.id = session_id
        self._owner = owner
        self._log = owner._log
        self._loop = asyncio.get_running_loop()
        self._place: Place = owner._place(session_id)
        self._settings = settings
        self._writer = SessionWriter(session_id, owner._next_writer(), settings)
        self._failure_message = failure_message
        self._open_timeout = open_timeout_seconds
        self._armed = True  # nothing is to be scheduled before `open`
        self._entered = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._opening: asyncio.Future[None] | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._drains: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._room: deque[asyncio.Future[None]] = deque()
        self._cancelled = asyncio.Event()
        self._callbacks: list[Callable[[], object]] = []
        self._poked_at = 0.0
        self._sent: Send | None = None

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def run(self) -> int:
        """The run: the sequence of its opening message. 0 before it is open."""
        return self._writer.run

    @property
    def run_id(self) -> str | None:
        """The run id of its starter's choice, if there is one."""
        return self._writer.name

    @property
    def writer_id(self) -> str:
        return self._writer.writer

    @property
    def cursor(self) -> str:
        """The place just before this run: a front end that starts there sees the run from its first event."""
        return f"{self._place.incarnation}-{self._writer.before}"

    @property
    def history(self) -> tuple[Event, ...]:
        """What the run had said when `resume` took it over, since its last reset. Empty for a new run."""
        return tuple(self._writer.history.events)

    @property
    def stored_events(self) -> int:
        """This writer's events that are in the log for certain."""
        return self._writer.stored_events

    @property
    def pending_events(self) -> int:
        """Events written and not yet known to be stored."""
        return self._writer.buffer.events

    @property
    def error(self) -> HoldfastError | None:
        """What ended the run, if it was not its own end."""
        return self._writer.error

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._over.done()

    @property
    def cancelled(self) -> asyncio.Event:
        """Set when somebody stopped the run. `write` raises `SessionCancelled` from then on."""
        return self._cancelled

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call back when the run is stopped, at once if it is already. A coroutine function's coroutine is run."""
        self._callbacks.append(callback)
        if self._cancelled.is_set():
            self._tell_cancelled()

    # ----------------------------------------------------------------------------------------------- writing

    def write(self, value: object, type: str = MESSAGE) -> None:
        """Queue an event: text, bytes, or any JSON-able value. Synchronous; never waits for the network.

        Raises:
            BufferFull: the broker is slower than the model; `drain` first, or use `write_async`.
            EventTooLarge, InvalidEventType, TypeError: nothing was taken.
            SessionCancelled, SessionFenced, SessionExpired, BrokerRewound, StreamReplaced, SessionClosed:
                the run is over for this writer.
        """
        self._writer.write(event(value, type, limit_bytes=self._owner._max_event_bytes))
        if not self._armed:
            self._armed = True
            self._owner._wake(self)

    async def write_async(self, value: object, type: str = MESSAGE) -> None:
        """Like `write`, and waits for room instead of raising `BufferFull`. Cancelled while waiting: not written."""
        made = event(value, type, limit_bytes=self._owner._max_event_bytes)
        while True:
            try:
                self._writer.write(made)
                break
            except BufferFull:
                room = self._loop.create_future()
                self._room.append(room)
                await room
        if not self._armed:
            self._armed = True
            self._owner._wake(self)

    async def drain(self) -> None:
        """Wait until all that was written before this call is stored. Sends at once, without the minimum interval.

        Raises what ended the run, if it ended before. Cancelling it changes nothing.
        """
        writer = self._writer
        if writer.error is not None:
            writer.check()
        if not writer.buffer.events:
            return
        writer.flush()
        done = self._loop.create_future()
        self._drains.append((writer.stored_events + writer.buffer.events, done))
        self._pump()
        await done

    def reset(self) -> None:
        """Void what the run has said so far; viewers drop it. What is queued is never sent."""
        self._writer.reset()
        self._wake()

    async def end(self, result: object = None) -> None:
        """End the run after all that was written, with an optional JSON value (usage, finish reason), 16 KiB at most.

        Raises what ended the run instead. Cancelling it does not undo it.
        """
        self._writer.end(result)
        await self._closed()

    async def fail(self, reason: str, message: str = "") -> None:
        """End the run as failed; viewers get `session.failed` with both texts. Otherwise like `end`."""
        self._writer.fail(reason, message)
        await self._closed()

    async def _closed(self) -> None:
        self._pump()
        await asyncio.shield(self._over)
        if self._writer.error is not None:
            raise self._writer.error.with_traceback(None)

    # ---------------------------------------------------------------------------------------- opening, leaving

    async def open(self) -> Session:
        """Open the run. `async with` does this.

        Raises `BrokerUnavailable` when the log did not answer in time, `SessionOpen`, `NotResumable`, `SessionFenced`
        (another takeover won). Cancelled: what was sent may still open a run, which pods close when its lease is over.
        """
        if self._entered:
            raise RuntimeError("a session can be opened once")
        self._entered = True
        self._opening = self._loop.create_future()
        self._owner._opened(self)
        self._pump()
        try:
            async with asyncio.timeout(self._open_timeout):
                await asyncio.shield(self._opening)
        except TimeoutError:
            self._abandon()
            why = self._writer.why or "no answer"
            raise BrokerUnavailable(self._log.servers, f"session {self.id} could not be opened: {why}") from None
        except BaseException:
            self._abandon()
            raise
        return self

    async def __aenter__(self) -> Session:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if error is None:
            if self._writer.error is None and not self._writer.closing:
                self._writer.end()
            try:
                await self._closed()
            except SessionCancelled:
                pass  # the block ended well; being stopped is a way to end
        elif not self.closed:
            if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)):
                await self.stop()
            else:
                await self._fail_bounded(self._text_of(error))

    async def _fail_bounded(self, message: str) -> None:
        """The block's own exception is not to wait for ever for a broker that is away, nor to be hidden."""
        try:
            async with asyncio.timeout(FAIL_FLUSH_SECONDS):
                await self.fail("producer_error", message)
        except (HoldfastError, TimeoutError):
            self._abandon()

    def _text_of(self, error: BaseException) -> str:
        chosen = self._failure_message
        if chosen is None:
            return type(error).__name__
        text = chosen if isinstance(chosen, str) else chosen(error)
        return text[:2000]

    async def stop(self, timeout_seconds: float = STOP_FLUSH_SECONDS) -> bool:
        """Store what is queued and `failed {reason: producer_stopped}`, within a bound. True if both are stored."""
        writer = self._writer
        if writer.error is None and not writer.closing and writer.opened:
            writer.fail("producer_stopped")
        elif not writer.opened:
            self._abandon()
        self._pump()
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.shield(self._over)
        except TimeoutError:
            self._abandon()
        return writer.closed

    def _abandon(self) -> None:
        """Send nothing more. What is in flight may still land."""
        if not self._over.done():
            self._writer.give_up(self._loop.time())
            self._settle()

    # ------------------------------------------------------------------------------------ the machine's I/O

    def _wake(self) -> None:
        if not self._armed:
            self._armed = True
            self._owner._wake(self)

    def _pump(self) -> None:
        """Ask the machine what to do, and do it."""
        action = self._writer.next(self._loop.time())
        if type(action) is Send:
            self._armed = True
            self._sent = action
            self._log.append(self._place, action.draft, action.expected, partial(self._answered, action))
        elif type(action) is Sleep:
            # A timer that fires early only asks again: so it is set anew only for an earlier time.
            self._armed = bool(self._writer.buffer.queue)
            if self._timer is None or action.until < self._timer_at:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer_at = action.until
                self._timer = self._loop.call_at(action.until, self._rang)
        elif type(action) is Look:
            self._armed = True
            self._log.page(self._place, action.after, self._looked)
        else:
            self._armed = self._writer.busy
        if self._writer.error is not None or self._writer.closed:
            self._settle()

    def _rang(self) -> None:
        self._timer = None
        self._owner._wake(self)

    def _answered(self, sent: Send, answer: Answer) -> None:
        if sent is self._sent:
            self._sent = None
            self._writer.answered(answer, self._loop.time())
        else:
            self._writer.answered_late(sent, answer, self._loop.time())
        self._told()

    def _looked(self, page: Page | None) -> None:
        now = self._loop.time()
        if page is None:
            self._writer.look_failed(now)
        else:
            self._writer.looked(page.records, page.more, now)
        self._told()

    def _told(self) -> None:
        """Something came back: go on, and wake who waits for it."""
        writer = self._writer
        if self._drains:
            while self._drains and (self._drains[0][0] <= writer.stored_events or not writer.buffer.events):
                _done(self._drains.popleft()[1])
        while self._room and writer.buffer.has_room(1):
            _done(self._room.popleft())
        if self._opening is not None and writer.opened and writer.error is None:
            _done(self._opening)
            self._opening = None
            held_by = writer.history.state.writer
            if held_by is not None:  # whom we fenced need not find out at its next append
                self._log.hint(self._log.namespace.writer_nudge(held_by), self._place.stored.encode())
        if self._drains:
            writer.flush()
        if writer.buffer.queue and not self._drains:
            self._owner._wake(self)  # in its turn: thousands share the loop
        else:
            self._pump()

    def _settle(self) -> None:
        """The run is over for this writer: tell everyone who waits."""
        if self._over.done():
            return
        self._over.set_result(None)
        self._armed = True
        if self._timer is not None:
            self._timer.cancel()
        error = self._writer.error
        opening, self._opening = self._opening, None
        waiting = [*(f for _, f in self._drains), *self._room, *([opening] if opening is not None else [])]
        self._drains.clear()
        self._room.clear()
        for future in waiting:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
                    future.exception()  # a waiter that has gone away is no failure of ours
        self._owner._closed_session(self)
        if isinstance(error, SessionCancelled):
            self._cancelled.set()
            self._tell_cancelled()
        elif isinstance(error, StreamReplaced):
            self._owner._stream_gone()

    def _tell_cancelled(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._owner._call(callback)

    def _poke(self) -> None:
        """A hint that somebody acted on this session: look, at most once a second."""
        now = self._loop.time()
        if now - self._poked_at < 1.0:
            self._loop.call_at(self._poked_at + 1.0, self._poke_late)
            return
        self._poked_at = now
        self._poke_late()

    def _poke_late(self) -> None:
        if not self._over.done():
            self._writer.poke()
            if not self._writer.busy:
                self._pump()

    def _hurry(self) -> None:
        """The connection is back."""
        if not self._over.done():
            self._writer.hurry(self._loop.time())
            if not self._writer.busy:
                self._pump()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
