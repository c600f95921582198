"""The SDK's front door: `connect`, and what can be done with a connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import secrets
import ssl
import string
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, Literal

from holdfast import operations, pipes, reading
from holdfast.actions import Settings
from holdfast.discovery import ENV_CREDENTIALS, find_servers
from holdfast.errors import HoldfastError
from holdfast.log import Log, Place, Watch
from holdfast.owned import OwnedTasks
from holdfast.session import FailureText, Session
from holdfast.signals import die_of_sigterm, on_sigterm
from holdfast.wire import RunState, SessionKey
from holdfast.wire.limits import DEFAULT_LEASE_SECONDS
from holdfast.wire.subjects import DEFAULT_PREFIX, DEFAULT_TENANT, run_name, tenant_id

HINT_SECONDS: Final = 2.0
SESSIONS_A_TURN: Final = 64
DEFAULT_INTERVAL_SECONDS: Final = 0.02
DEFAULT_BUFFER_BYTES: Final = 1024 * 1024
DEFAULT_BUFFER_EVENTS: Final = 16_384
DEFAULT_GIVE_UP_SECONDS: Final = 300.0

_TOKEN = string.ascii_lowercase + string.digits
_logger = logging.getLogger("holdfast")


class Holdfast:
    """A connection that writes, reads and stops sessions. Made by `connect`; belongs to one event loop."""

    def __init__(self, log: Log, *, tenant: str = DEFAULT_TENANT) -> None:
        self._log = log
        self._tenant = tenant_id(tenant)
        self._loop = asyncio.get_running_loop()
        self._token = "".join(secrets.choice(_TOKEN) for _ in range(12))
        self._count = 0
        self._sessions: dict[Session, None] = {}
        self._by_subject: dict[str, list[Session]] = {}
        self._awake: deque[Session] = deque()
        self._tasks = OwnedTasks()
        self._hint: asyncio.TimerHandle | None = None
        self._nudges: Watch | None = None
        self._closed = False
        self._max_event_bytes = log.max_event_bytes
        log.on_up = self._up

    # ---------------------------------------------------------------------------------------------- writing

    def session(
        self,
        session_id: str,
        *,
        run_id: str | None = None,
        if_open: Literal["fence", "raise"] = "fence",
        lease_seconds: float | None = DEFAULT_LEASE_SECONDS,
        min_publish_interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        buffer_events: int = DEFAULT_BUFFER_EVENTS,
        give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS,
        open_timeout_seconds: float = 20.0,
        failure_message: FailureText = None,
    ) -> Session:
        """A new run of a session: `async with hf.session("chat-42") as s`.

        Args:
            session_id: 1 to 128 characters of A-Z a-z 0-9 _ -.
            run_id: A name of your choice for the run, so that it can be cancelled before it starts.
            if_open: Whether an open run of another writer is superseded, or `SessionOpen` raised.
            lease_seconds: Without a sign of life for this long the producer is taken for lost. None: no lease, the
                gateway's idle limit alone closes the run.
            min_publish_interval_seconds: What is written within it goes out together; 0 publishes at once.
            buffer_bytes: Bound of what is written and not yet stored, in bytes.
            buffer_events: The same in events.
            give_up_seconds: How long an append may stay unanswered before the session raises `Uncertain`. At most a
                quarter of the streams' max age.
            open_timeout_seconds: How long opening may take before `BrokerUnavailable`.
            failure_message: What viewers are told when the block raises: a text, or a function of the exception.
                By default the exception's class name, and never more.

        Raises `InvalidId` for an unusable id.
        """
        settings = Settings(
            mode="start",
            if_open=if_open,
            name=None if run_id is None else run_name(run_id),
            lease_seconds=lease_seconds,
            interval_seconds=min_publish_interval_seconds,
            buffer_bytes=buffer_bytes,
            buffer_events=buffer_events,
            give_up_seconds=min(give_up_seconds, self._log.max_age_seconds / 4),
        )
        return Session(
            self, session_id, settings, failure_message=failure_message, open_timeout_seconds=open_timeout_seconds
        )

    def resume(
        self,
        session_id: str,
        *,
        lease_seconds: float | None = DEFAULT_LEASE_SECONDS,
        min_publish_interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        buffer_events: int = DEFAULT_BUFFER_EVENTS,
        give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS,
        open_timeout_seconds: float = 20.0,
        failure_message: FailureText = None,
    ) -> Session:
        """Take over a session's open run: fences its writer; `s.history` has what the run said so far.

        Of several at once exactly one wins, the others raise `SessionFenced`. Raises `NotResumable` where no run is
        open. Arguments as for `session`.
        """
        settings = Settings(
            mode="takeover",
            lease_seconds=lease_seconds,
            interval_seconds=min_publish_interval_seconds,
            buffer_bytes=buffer_bytes,
            buffer_events=buffer_events,
            give_up_seconds=min(give_up_seconds, self._log.max_age_seconds / 4),
        )
        return Session(
            self, session_id, settings, failure_message=failure_message, open_timeout_seconds=open_timeout_seconds
        )

    async def pipe(
        self,
        session_id: str,
        source: pipes.Source,
        *,
        result: object = None,
        run_id: str | None = None,
        if_open: Literal["fence", "raise"] = "fence",
        lease_seconds: float | None = DEFAULT_LEASE_SECONDS,
        min_publish_interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        failure_message: FailureText = None,
    ) -> pipes.PipeResult:
        """Write all that a source yields as one run, and end it.

        The source is an async or sync iterable (or a callable or awaitable that gives one) of text, bytes, dicts,
        pydantic models, dataclasses or `Event`s. It is closed in every case. No viewer can slow it down or stop it;
        when the run is cancelled or fenced it is interrupted.

        Returns how the run ended: `ended`, or `cancelled` if somebody stopped it. What the source raises is raised
        here, after the run is closed as failed. Cancelling the call fails the run as `producer_stopped`.
        """
        session = self.session(
            session_id,
            run_id=run_id,
            if_open=if_open,
            lease_seconds=lease_seconds,
            min_publish_interval_seconds=min_publish_interval_seconds,
            failure_message=failure_message,
        )
        return await pipes.pipe(session, source, result)

    def launch(
        self,
        session_id: str,
        source: pipes.Source,
        *,
        result: object = None,
        run_id: str | None = None,
        if_open: Literal["fence", "raise"] = "fence",
        lease_seconds: float | None = DEFAULT_LEASE_SECONDS,
        min_publish_interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        failure_message: FailureText = None,
    ) -> asyncio.Task[pipes.PipeResult]:
        """`pipe` in a task that this connection owns: it outlives the request that launched it.

        Closing the connection stops it. A failure is logged, and raised to whoever awaits the task.
        """
        work = self.pipe(
            session_id,
            source,
            result=result,
            run_id=run_id,
            if_open=if_open,
            lease_seconds=lease_seconds,
            min_publish_interval_seconds=min_publish_interval_seconds,
            failure_message=failure_message,
        )
        return self._tasks.spawn(work, f"holdfast-pipe-{session_id}")

    # ------------------------------------------------------------------------------------- reading and acting

    def read(
        self,
        session_id: str,
        cursor: str | None = None,
        *,
        follow: bool = False,
        wait_seconds: float | None = 10.0,
    ) -> AsyncGenerator[reading.StreamEvent, None]:
        """The session's events, exact and in order, live when caught up: `async for event in hf.read("chat-42")`.

        Resumes by itself over lost connections. Ends when caught up behind a run's end; `follow` stays for the next
        runs. `cursor` is an event's `id`: reading goes on behind it. A cursor that cannot be continued exactly gives a
        `session.gap` event first.

        Raises `SessionNotFound` when nothing is there within `wait_seconds` (None: waits for ever), `InvalidCursor`.
        """
        return reading.read(self._log, self._key(session_id), cursor, follow=follow, wait_seconds=wait_seconds)

    async def state(self, session_id: str) -> RunState:
        """Where the session stands, derived from its log. Raises `BrokerUnavailable`."""
        return (await operations.fold_log(self._log, self._place(session_id))).state

    async def cancel(
        self, session_id: str, run: int | str | None = None, *, reason: str | None = None
    ) -> operations.CancelOutcome:
        """Stop a run: the open one, or the one named by number or run id (also before it starts).

        Returns `cancelled` (this call stopped it), `pending` (that run id has not started; it will be stopped when it
        does) or `not_open` (nothing to stop). Raises `BrokerUnavailable`. Cancelled: it may have happened.
        """
        return await operations.cancel(self._log, self._place(session_id), run, reason)

    async def erase(self, session_id: str) -> None:
        """Remove a session's content: viewers are told, writers are fenced, then its messages are purged.

        Needs the right to purge. Raises `BrokerUnavailable`; when it does, the session may be erased but not purged,
        and calling again finishes it.
        """
        await operations.erase(self._log, self._place(session_id))

    async def close(self) -> None:
        """Fail what is still open as `producer_stopped`, within 2 s, and let go of the connection."""
        if self._closed:
            return
        self._closed = True
        await self._tasks.close()
        await asyncio.gather(*(s.stop() for s in list(self._sessions)))
        if self._hint is not None:
            self._hint.cancel()
        await self._log.close()

    # ---------------------------------------------------------------------------------- for sessions, from here on

    def _key(self, session_id: str) -> SessionKey:
        return SessionKey.of(session_id, self._tenant)

    def _place(self, session_id: str) -> Place:
        return self._log.place(self._key(session_id))

    def _next_writer(self) -> str:
        self._count += 1
        return f"{self._token}-{self._count}"

    def _wake(self, session: Session) -> None:
        """A session has something to do in one of the next turns of the loop."""
        if not self._awake:
            self._loop.call_soon(self._turn)
        self._awake.append(session)

    def _turn(self) -> None:
        """Let some of them publish. Not all: with thousands, the loop must come back to the models that write, and what
        they write meanwhile goes out with the rest. That is what holds the rate when the processor is the limit."""
        awake = self._awake
        for _ in range(min(len(awake), SESSIONS_A_TURN)):
            awake.popleft()._pump()
        if awake:
            self._loop.call_soon(self._turn)

    def _opened(self, session: Session) -> None:
        if self._closed:
            raise RuntimeError("the connection is closed")
        self._sessions[session] = None
        self._by_subject.setdefault(session._place.stored, []).append(session)
        if self._hint is None:
            # Soon: a pod misses only the heartbeats of whom it has heard.
            self._hint = self._loop.call_later(random.uniform(0.0, 0.1), self._beat)

    def _closed_session(self, session: Session) -> None:
        self._sessions.pop(session, None)
        subject = session._place.stored
        left = [s for s in self._by_subject.get(subject, ()) if s is not session]
        if left:
            self._by_subject[subject] = left
        else:
            self._by_subject.pop(subject, None)

    def _beat(self) -> None:
        """One hint a process: its writers are alive. Never evidence."""
        self._hint = None
        if self._sessions and not self._closed:
            self._log.hint(self._log.namespace.writer_hint(self._token), b"")
            self._hint = self._loop.call_later(HINT_SECONDS, self._beat)

    def _nudged(self, body: bytes) -> None:
        for session in self._by_subject.get(body.decode("ascii", "replace"), ()):
            session._poke()

    def _up(self) -> None:
        self._max_event_bytes = self._log.max_event_bytes
        for session in list(self._sessions):
            session._hurry()

    def _stream_gone(self) -> None:
        if not self._closed:
            self._tasks.spawn(self._relearn(), "holdfast-refresh")

    async def _relearn(self) -> None:
        try:
            await self._log.refresh()
        except HoldfastError as error:
            _logger.warning("%s", error)

    def _terminated(self) -> None:
        """The process is to end: tell the log, then die of the signal as if nobody had caught it."""

        async def stop_and_die() -> None:
            try:
                await asyncio.gather(*(s.stop() for s in list(self._sessions)))
            finally:
                die_of_sigterm(self._loop)

        self._tasks.spawn(stop_and_die(), "holdfast-sigterm")

    def _call(self, callback: Callable[[], object]) -> None:
        """Run an application's callback; its failure is reported, not ours."""

        def run() -> None:
            result = callback()
            if inspect.iscoroutine(result):
                self._tasks.spawn(result, "holdfast-on-cancel")

        self._loop.call_soon(run)


@asynccontextmanager
async def connect(
    servers: str | Iterable[str] | None = None,
    *,
    tenant: str = DEFAULT_TENANT,
    prefix: str = DEFAULT_PREFIX,
    credentials: str | None = None,
    tls: ssl.SSLContext | None = None,
    inbox_prefix: str = "_INBOX",
    timeout_seconds: float = 5.0,
    handle_sigterm: bool = True,
) -> AsyncIterator[Holdfast]:
    """Connect to the broker: `async with holdfast.connect() as hf`.

    Args:
        servers: NATS URLs, a list or separated by commas. None: `HOLDFAST_NATS_URL`, else the `.holdfast/dev.json` of
            a running `holdfast-gateway dev`, else nats://127.0.0.1:4222.
        tenant: Whose sessions these are.
        prefix: The namespace's subject prefix.
        credentials: Path of a NATS credentials file. None: `HOLDFAST_NATS_CREDS`, if that is set.
        tls: For `tls://` servers with a certificate authority of your own.
        inbox_prefix: Where replies go, for users whose rights name it.
        timeout_seconds: Bound of connecting and learning the streams.
        handle_sigterm: Close open runs as `producer_stopped` on SIGTERM, if nobody else handles it, and then die of
            it. Only in the main thread.

    Raises:
        BrokerUnavailable: no server answered in time; names the URLs tried.
        NotProvisioned: there are no streams; names the command that makes them.
        ContractMismatch: the streams speak another contract.
        InvalidId: the tenant or the prefix is unusable.
    """
    from holdfast.connection import Access  # nats-py is a quarter of the import time, and `wire` needs none of it
    from holdfast.jetstream import open_log

    log = await open_log(
        find_servers(servers),
        prefix=prefix,
        access=Access(credentials or os.environ.get(ENV_CREDENTIALS), tls, inbox_prefix),
        timeout_seconds=timeout_seconds,
        name="holdfast",
    )
    async with over(log, tenant=tenant, handle_sigterm=handle_sigterm) as hf:
        yield hf


@asynccontextmanager
async def over(log: Log, *, tenant: str = DEFAULT_TENANT, handle_sigterm: bool = False) -> AsyncIterator[Holdfast]:
    """The client over a log that is already open; closes both."""
    try:
        hf = Holdfast(log, tenant=tenant)
        hf._nudges = await log.watch(log.namespace.writer_nudge(hf._token), hf._nudged)
        release = on_sigterm(hf._terminated) if handle_sigterm else None
    except BaseException:
        await log.close()
        raise
    try:
        yield hf
    finally:
        if release is not None:
            release()
        await hf.close()
