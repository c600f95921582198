"""What the SDK raises, split by who must act. `docs/errors.md` has a heading for each, named by `anchor`.

The caller mends `ContractError`s (from `holdfast.wire`), `BufferFull` and `SessionOpen`. A peer took the pen:
`SessionFenced`, `SessionCancelled`, `NotResumable`. The broker or its operator: the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from holdfast.wire.errors import (
    ContractError,
    EventTooLarge,
    HoldfastError,
    InvalidCursor,
    InvalidEventType,
    InvalidId,
)

__all__ = [
    "BrokerRewound",
    "BrokerUnavailable",
    "BufferFull",
    "ContractError",
    "ContractMismatch",
    "EventTooLarge",
    "HoldfastError",
    "InvalidCursor",
    "InvalidEventType",
    "InvalidId",
    "NotProvisioned",
    "NotResumable",
    "SessionCancelled",
    "SessionClosed",
    "SessionExpired",
    "SessionFenced",
    "SessionNotFound",
    "SessionOpen",
    "StreamReplaced",
    "Uncertain",
]


# ------------------------------------------------------------------------------------------ the caller's to mend


class BufferFull(HoldfastError):
    """The session's buffer is at its bound: the broker is slower than the model, or away. Nothing was taken."""

    anchor = "bufferfull"
    retryable = True

    def __init__(self, size_bytes: int, events: int, limit_bytes: int, limit_events: int) -> None:
        self.size_bytes = size_bytes
        self.events = events
        self.limit_bytes = limit_bytes
        self.limit_events = limit_events
        super().__init__(
            f"{events} events of {size_bytes} bytes wait for the broker "
            f"(bounds: {limit_events} events, {limit_bytes} bytes); "
            "`await session.drain()` first, or use `await session.write_async(...)`, which waits for room"
        )


class SessionClosed(HoldfastError):
    """A write after `end` or `fail`."""

    anchor = "sessionclosed"

    def __init__(self, session: str) -> None:
        self.session = session
        super().__init__(f"session {session}: the run is closed; open a new one to go on")


class SessionOpen(HoldfastError):
    """`if_open="raise"`, and somebody else's run is open."""

    anchor = "sessionopen"
    retryable = True

    def __init__(self, session: str, run: int, writer: str | None) -> None:
        self.session = session
        self.run = run
        self.writer = writer
        super().__init__(
            f'session {session}: run {run} is open; if_open="fence" would supersede it, resume() continue it'
        )


# --------------------------------------------------------------------------------------------- a peer has acted


class SessionFenced(HoldfastError):
    """The run is no longer this writer's. What it had not stored yet is not stored and never will be.

    `reason` is one of: superseded (another start), taken_over, failed (a pod found the writer dead), ended (somebody
    else closed the run), erased. `stored_events` counts this writer's events that are in the log for certain.
    """

    anchor = "sessionfenced"

    def __init__(self, session: str, reason: str, sequence: int, stored_events: int, by: str | None = None) -> None:
        self.session = session
        self.reason = reason
        self.sequence = sequence
        self.stored_events = stored_events
        self.by = by
        super().__init__(f"session {session}: {reason} at sequence {sequence}; this writer may not write any more")


class SessionCancelled(HoldfastError):
    """Somebody stopped the run. The text so far stays; nothing more can be added."""

    anchor = "sessioncancelled"

    def __init__(self, session: str, sequence: int, stored_events: int, reason: str | None = None) -> None:
        self.session = session
        self.sequence = sequence
        self.stored_events = stored_events
        self.reason = reason
        super().__init__(f"session {session}: cancelled at sequence {sequence}" + (f" ({reason})" if reason else ""))


class NotResumable(HoldfastError):
    """`resume` of a session that has no open run."""

    anchor = "notresumable"

    def __init__(self, session: str, status: str) -> None:
        self.session = session
        self.status = status
        super().__init__(f"session {session} has no open run to resume (it is {status}); start one with session()")


class SessionNotFound(HoldfastError):
    """Nothing was ever written to the session, or it is all expired."""

    anchor = "sessionnotfound"
    retryable = True

    def __init__(self, session: str) -> None:
        self.session = session
        super().__init__(f"session {session} has no messages")


# -------------------------------------------------------------------------------------- the broker, its operator


class BrokerUnavailable(HoldfastError):
    """No broker could be reached, or it did not answer in time."""

    anchor = "brokerunavailable"
    retryable = True

    def __init__(self, servers: Sequence[str], why: str) -> None:
        self.servers = tuple(servers)
        self.why = why
        super().__init__(f"no NATS server answered at {_shown(self.servers)}: {why}")


class NotProvisioned(HoldfastError):
    """The broker is there, the streams are not."""

    anchor = "notprovisioned"
    retryable = True

    def __init__(self, servers: Sequence[str], prefix: str, why: str) -> None:
        self.servers = tuple(servers)
        self.prefix = prefix
        super().__init__(
            f"{why} for prefix {prefix!r} at {_shown(self.servers)}; "
            f"create the streams with: holdfast-gateway provision --nats {','.join(self.servers)}"
        )


class ContractMismatch(HoldfastError):
    """The streams speak another version of the wire contract than this SDK, or their metadata disagree."""

    anchor = "contractmismatch"

    def __init__(self, stream: str, field: str, found: str, wanted: str) -> None:
        self.stream = stream
        self.field = field
        self.found = found
        self.wanted = wanted
        super().__init__(f"stream {stream}: {field} is {found!r}, this SDK needs {wanted!r}")


class SessionExpired(HoldfastError):
    """The session's messages are gone (retention, purge): going on would make an erased session rise again."""

    anchor = "sessionexpired"

    def __init__(self, session: str) -> None:
        self.session = session
        super().__init__(f"session {session}: its log is gone from the broker (expired or purged); start a new run")


class BrokerRewound(HoldfastError):
    """The stream is behind what it acknowledged: it was rolled back. Ask the operator; the run cannot go on."""

    anchor = "brokerrewound"

    def __init__(self, session: str, acknowledged: int, actual: int) -> None:
        self.session = session
        self.acknowledged = acknowledged
        self.actual = actual
        super().__init__(f"session {session}: the broker acknowledged sequence {acknowledged} and now ends at {actual}")


class StreamReplaced(HoldfastError):
    """The stream the run was written to was deleted or restored under another incarnation."""

    anchor = "streamreplaced"

    def __init__(self, session: str, stream: str) -> None:
        self.session = session
        self.stream = stream
        super().__init__(f"session {session}: stream {stream} is gone or was replaced; start a new run")


class Uncertain(HoldfastError):
    """The broker did not say whether the last message is stored, for too long. It may still appear.

    `stored_events` are in the log for certain, `pending_events` more may or may not be.
    """

    anchor = "uncertain"
    retryable: ClassVar[bool] = False

    def __init__(self, session: str, stored_events: int, pending_events: int, waited_seconds: float, why: str) -> None:
        self.session = session
        self.stored_events = stored_events
        self.pending_events = pending_events
        self.waited_seconds = waited_seconds
        self.why = why
        super().__init__(
            f"session {session}: no certain answer from the broker for {waited_seconds:.0f} s (last: {why}); "
            f"{stored_events} events are stored, {pending_events} may be"
        )


def _shown(servers: Sequence[str]) -> str:
    """URLs for people: without what only the broker may know."""
    return ", ".join(re.sub(r"//([^/@:]*)(:[^/@]*)?@", "//...@", server) for server in servers)
