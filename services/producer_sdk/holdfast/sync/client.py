"""`holdfast.sync.connect`: the client for threads, Celery, Django."""

from __future__ import annotations

import atexit
import codecs
import os
import signal
import ssl
import threading
import weakref
from collections.abc import Generator, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal

from holdfast import client as async_client
from holdfast.client import DEFAULT_BUFFER_BYTES, DEFAULT_BUFFER_EVENTS, DEFAULT_INTERVAL_SECONDS
from holdfast.errors import SessionCancelled
from holdfast.operations import CancelOutcome
from holdfast.pipes import PipeResult
from holdfast.reading import StreamEvent
from holdfast.session import FailureText
from holdfast.session import Session as AsyncSession
from holdfast.sync.background import BackgroundLoop, background_loop
from holdfast.sync.session import Session
from holdfast.wire import RunState
from holdfast.wire.limits import DEFAULT_LEASE_SECONDS
from holdfast.wire.subjects import DEFAULT_TENANT

CLOSE_SECONDS = 5.0


class Holdfast:
    """A connection for threads. Made by `connect`. In a forked child it connects anew on first use."""

    def __init__(self, options: dict[str, Any], *, handle_sigterm: bool = False) -> None:
        self._options = options
        self._closed = False
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._background: BackgroundLoop | None = None
        self._context: AbstractAsyncContextManager[async_client.Holdfast] | None = None
        self._client: async_client.Holdfast | None = None
        self._inherited: list[object] = []
        self._here()
        self._at_exit = _Closer(self)
        atexit.register(self._at_exit)
        self._sigterm = _on_sigterm(self._at_exit) if handle_sigterm else None

    def __enter__(self) -> Holdfast:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _here(self) -> tuple[BackgroundLoop, async_client.Holdfast]:
        """This process's loop and connection."""
        if self._pid != os.getpid():
            # The parent's are kept alive and left alone: their sockets are shared.
            self._inherited += [self._background, self._context, self._client]
            self._background = self._context = self._client = None
            self._lock, self._pid = threading.RLock(), os.getpid()
        with self._lock:
            if self._closed:
                raise RuntimeError("the connection is closed")
            if self._background is None or self._client is None:
                background = background_loop()
                context = async_client.connect(**self._options)
                self._client = background.run(context.__aenter__())
                self._background, self._context = background, context
            return self._background, self._client

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
        give_up_seconds: float = async_client.DEFAULT_GIVE_UP_SECONDS,
        open_timeout_seconds: float = 20.0,
        failure_message: FailureText = None,
    ) -> Session:
        """A new run of a session: `with hf.session("chat-42") as s`. Arguments as for `holdfast.Holdfast.session`."""
        background, client = self._here()

        async def make() -> AsyncSession:
            return client.session(
                session_id,
                run_id=run_id,
                if_open=if_open,
                lease_seconds=lease_seconds,
                min_publish_interval_seconds=min_publish_interval_seconds,
                buffer_bytes=buffer_bytes,
                buffer_events=buffer_events,
                give_up_seconds=give_up_seconds,
                open_timeout_seconds=open_timeout_seconds,
                failure_message=failure_message,
            )

        return Session(self, background, background.run(make()))

    def resume(
        self,
        session_id: str,
        *,
        lease_seconds: float | None = DEFAULT_LEASE_SECONDS,
        min_publish_interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        failure_message: FailureText = None,
    ) -> Session:
        """Take over a session's open run. As `holdfast.Holdfast.resume`."""
        background, client = self._here()

        async def make() -> AsyncSession:
            return client.resume(
                session_id,
                lease_seconds=lease_seconds,
                min_publish_interval_seconds=min_publish_interval_seconds,
                failure_message=failure_message,
            )

        return Session(self, background, background.run(make()))

    def pipe(
        self,
        session_id: str,
        source: Iterable[object],
        *,
        result: object = None,
        run_id: str | None = None,
        if_open: Literal["fence", "raise"] = "fence",
        lease_seconds: float | None = DEFAULT_LEASE_SECONDS,
        min_publish_interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        failure_message: FailureText = None,
    ) -> PipeResult:
        """Write all that an iterable yields as one run, and end it. The iterable runs in the calling thread.

        Options as for `session`. A run that somebody stops ends the loop at the next chunk: the iterable is closed
        and the result says `cancelled`. What the iterable raises is raised here, after the run is closed as failed.
        """
        from holdfast.adapters.values import as_event

        session = self.session(
            session_id,
            run_id=run_id,
            if_open=if_open,
            lease_seconds=lease_seconds,
            min_publish_interval_seconds=min_publish_interval_seconds,
            failure_message=failure_message,
        )
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            with session:
                for chunk in source:
                    if isinstance(chunk, (bytes, bytearray, memoryview)):
                        chunk = decoder.decode(bytes(chunk))
                        if not chunk:
                            continue
                    made = as_event(chunk)
                    session.write_wait(made.data, made.type)
                if rest := decoder.decode(b"", final=True):
                    session.write_wait(rest)
                session.end(result)
        except SessionCancelled:
            pass
        finally:
            close = getattr(source, "close", None)
            if callable(close):
                close()
        status: Literal["ended", "cancelled"] = "cancelled" if session.cancelled.is_set() else "ended"
        return PipeResult(status, session.run, session.cursor, session.stored_events)

    def read(
        self,
        session_id: str,
        cursor: str | None = None,
        *,
        follow: bool = False,
        wait_seconds: float | None = 10.0,
    ) -> Generator[StreamEvent, None, None]:
        """The session's events, exact and in order, live when caught up. As `holdfast.Holdfast.read`."""
        background, client = self._here()
        events = client.read(session_id, cursor, follow=follow, wait_seconds=wait_seconds)

        async def following() -> StreamEvent | None:
            return await anext(events, None)

        async def close() -> None:
            await events.aclose()

        try:
            while (event := background.run(following())) is not None:
                yield event
        finally:
            background.run(close())

    def state(self, session_id: str) -> RunState:
        """Where the session stands, derived from its log."""
        background, client = self._here()
        return background.run(client.state(session_id))

    def cancel(self, session_id: str, run: int | str | None = None, *, reason: str | None = None) -> CancelOutcome:
        """Stop a run. As `holdfast.Holdfast.cancel`."""
        background, client = self._here()
        return background.run(client.cancel(session_id, run, reason=reason))

    def erase(self, session_id: str) -> None:
        """Remove a session's content. As `holdfast.Holdfast.erase`."""
        background, client = self._here()
        background.run(client.erase(session_id))

    def close(self) -> None:
        """Fail what is still open as `producer_stopped`, within 2 s, and let go. Safe to call twice, and in a child."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self._at_exit)
        if self._sigterm is not None:
            self._sigterm.restore()
        with self._lock:
            self._closed = True
            background, context = self._background, self._context
            self._background = self._context = self._client = None
        if background is not None and context is not None:
            background.run(context.__aexit__(None, None, None), CLOSE_SECONDS)


def connect(
    servers: str | Iterable[str] | None = None,
    *,
    tenant: str = DEFAULT_TENANT,
    prefix: str = "hf",
    credentials: str | None = None,
    tls: ssl.SSLContext | None = None,
    inbox_prefix: str = "_INBOX",
    timeout_seconds: float = 5.0,
    handle_sigterm: bool = True,
) -> Holdfast:
    """Connect: `with holdfast.sync.connect() as hf`, or once for the process. Arguments and errors as for
    `holdfast.connect`.

    Open runs are told as `producer_stopped` when it is closed, at the interpreter's exit, and on a SIGTERM that nobody
    else handles.
    """
    options = {
        "servers": list(servers) if servers is not None and not isinstance(servers, str) else servers,
        "tenant": tenant,
        "prefix": prefix,
        "credentials": credentials,
        "tls": tls,
        "inbox_prefix": inbox_prefix,
        "timeout_seconds": timeout_seconds,
        "handle_sigterm": False,
    }
    return Holdfast(options, handle_sigterm=handle_sigterm)


class _Closer:
    def __init__(self, hf: Holdfast) -> None:
        self._hf = weakref.ref(hf)

    def __call__(self) -> None:
        hf = self._hf()
        if hf is not None:
            hf.close()


class _Sigterm:
    """Closes before dying of SIGTERM, in the process that connected."""

    def __init__(self, close: _Closer) -> None:
        self._close = close
        self._pid = os.getpid()

    def __call__(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            if os.getpid() == self._pid:
                self._close()
        finally:
            signal.raise_signal(signal.SIGTERM)

    def restore(self) -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is self:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _on_sigterm(close: _Closer) -> _Sigterm | None:
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None
    handler = _Sigterm(close)
    signal.signal(signal.SIGTERM, handler)
    return handler
