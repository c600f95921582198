"""The port between the streamer and a session's storage, and what can go wrong at it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from holdfast.serving.records import Outcome, Place, Position, Record
from holdfast.wire.errors import HoldfastError
from holdfast.wire.event import Event

DEFAULT_LEASE_SECONDS: Final = 30.0
"""A generator's run whose process is silent for so long is closed as failed. Renewed at a third."""

DEFAULT_IDLE_SECONDS: Final = 600.0
"""The same for sessions filled by `push` alone, whose producer promised nothing."""

DEFAULT_TTL_SECONDS: Final = 3600.0
"""How long a session is kept after the last thing that happened to it."""

DEFAULT_MAX_EVENTS: Final = 10_000
DEFAULT_MAX_BYTES: Final = 16 * 1024 * 1024
"""Of one session. What is over goes, oldest first, and viewers who wanted it are told by a `gap`."""


class StoreError(HoldfastError):
    """A session's storage refused or failed."""

    anchor = "storeerror"

    def __init__(self, session_id: str, text: str) -> None:
        self.session_id = session_id
        super().__init__(f"session {session_id[:80]!r}: {text}")


class RunLost(StoreError):
    """The run that appends is not the session's any more: it was cleared, ended by others, or its lease ran out."""

    anchor = "runlost"

    def __init__(self, session_id: str, why: str) -> None:
        self.why = why
        super().__init__(session_id, f"its run is over for this producer ({why})")


class SessionEnded(StoreError):
    """`push` to a session that has ended. Clear it first, or use an id of its own for each answer."""

    anchor = "sessionended"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id, "has ended; clear it first, or use an id of its own for each answer")


class StoreUnavailable(StoreError):
    """The storage could not be reached for as long as was allowed. What was written before stands."""

    anchor = "storeunavailable"
    retryable = True


class SessionStore(Protocol):
    """Storage of sessions: an append-only log each, with one run from `begin` to a terminal.

    `tests/contract/test_streamer_backends.py` is its contract; run it over an implementation of your own. Cancelling
    any of these leaves the log whole; whether the cancelled append is in it is not known.
    """

    lease_seconds: float

    async def begin(self, session_id: str) -> str | None:
        """Open the session for one producer, if nothing at all is known of it.

        Returns:
            the run, for the one caller, over all processes, that may produce; None for all others.
        """

    async def append(self, session_id: str, run: str | None, first: int, events: Sequence[Event]) -> None:
        """Store events in order, all or none.

        Args:
            session_id: any text.
            run: the caller's own, or None for a `push` from outside of any run, which opens the session if need be.
            first: with a run, the first event's number among the run's own, from 1: a repeated append stores
                nothing twice.
            events: at least one.

        Raises:
            RunLost: with a run, when the session has another by now or has ended.
            SessionEnded: without one, when it has ended.
        """

    async def finish(self, session_id: str, run: str | None, outcome: Outcome) -> None:
        """Store the terminal, once: one that is there stands, and of a run that is over already nothing is stored.

        Without a run, ends whichever is open, and opens the session if nothing is known of it.
        """

    async def renew(self, session_id: str, run: str) -> None:
        """Keep the run's lease while it has nothing to say. Raises `RunLost`."""

    async def erase(self, session_id: str) -> None:
        """Forget the session. Its followers are told by a `failed` record."""

    async def locate(self, session_id: str, last_id: str) -> Place | None:
        """Where a viewer with this `Last-Event-ID` begins; None for an unknown session. `0` and empty: the start."""

    def follow(self, session_id: str, run: str, after: Position) -> AsyncGenerator[list[Record], None]:
        """Yield what follows a position, in order, in batches, then what comes, up to and including the terminal.

        Closes a run whose lease is over. Ends after the terminal. A place that is gone is told by a `gap` record.
        """

    async def aclose(self) -> None:
        """Let go of what the store holds itself. What callers gave it stays theirs."""
