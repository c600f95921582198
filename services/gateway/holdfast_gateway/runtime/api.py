"""What the web side and the runtime say to each other: settings, outcomes, errors, and the way out to a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from holdfast.wire import Cursor, SessionKey
from holdfast_gateway.core.close_reasons import CloseReason, RefusalReason
from holdfast_gateway.core.pieces import Piece


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Bounds and times of the runtime. Each has its name in the gateway's settings; zero means what is said here."""

    ring_session_bytes: int = 4 * 1024 * 1024
    """Encoded frames kept of one session; older ones are read from the broker again."""
    ring_pod_bytes: int = 256 * 1024 * 1024
    """The same over all sessions of this pod; the session written to longest ago gives way first."""
    snapshot_bytes: int = 8 * 1024 * 1024
    """Largest joined text of one run; a longer run is replayed instead."""
    lag_bytes: int = 16 * 1024 * 1024
    """What may come in while a viewer reads nothing, before it is closed as `lagging`."""
    max_viewers_per_session: int = 20_000
    max_viewers: int = 50_000
    linger_seconds: float = 30.0
    """How long a session without viewers keeps its feed."""
    heartbeat_seconds: float = 15.0
    """Comment heartbeats to viewers of a silent session. 0: none."""
    retry_min_ms: int = 500
    retry_max_ms: int = 1500
    hint_lost_seconds: float = 6.0
    """Silence of a writer's process after which a silent run counts as lost. A hint only shortens the lease."""
    grace_seconds: float = 20.0
    """How long a lost writer has, on a stream proven writable each second, before its run is closed."""
    idle_seconds: float = 600.0
    """When a run without a lease is closed as idle. 0: never."""
    broker_wait_seconds: float = 5.0
    """How long a request waits for a broker that does not answer before `SourceUnavailable`."""
    page_records: int = 64
    """Records in one read from the broker when a viewer stands before the ring."""


class SessionUnknown(Exception):
    """The log holds nothing of this session, also after waiting. Answer 404."""

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        super().__init__(f"no session {key.session!r}")


class SnapshotTooLarge(Exception):
    """The run's joined text is above `snapshot_bytes`. Follow the events instead."""

    def __init__(self, key: SessionKey, limit_bytes: int) -> None:
        self.key = key
        self.limit_bytes = limit_bytes
        super().__init__(f"the run of session {key.session!r} has more than {limit_bytes} bytes of text")


class Sink(Protocol):
    """One viewer's way out. Called from the event loop only; nothing here blocks, awaits or raises."""

    writable: bool
    """False from the moment more than the write mark is buffered. When it turns True again: `Viewer.resume()`."""

    def write(self, piece: Piece) -> None:
        """Send whole frames. Also taken when not writable, but the runtime does not call it then, but for an end."""

    def close(self, reason: CloseReason) -> None:
        """Send what is buffered, then end the response. Called once; nothing is written after it."""


class Viewer(Protocol):
    """An admitted viewer. It holds its place from `attach` on; a viewer not started within 10 s is let go."""

    @property
    def key(self) -> SessionKey: ...

    def start(self, sink: Sink) -> None:
        """The response's head is out: begin to write. Called once; may write before it returns."""

    def resume(self) -> None:
        """The sink is writable again."""

    def close(self, reason: CloseReason) -> None:
        """End it from this side (an expired token, say). Idempotent."""

    def detach(self) -> None:
        """The connection is gone: forget the viewer, write nothing more. Idempotent."""


@dataclass(frozen=True, slots=True)
class Attached:
    """Answer 200 and start the viewer."""

    viewer: Viewer


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """Everything was delivered and the run is over: answer 204, which stops `EventSource`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer 200 with `body` (it has a `retry:`) and end."""

    reason: RefusalReason
    body: bytes


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as its log tells it. `status`: none, open, lost, ended, failed, cancelled, erased."""

    key: SessionKey
    status: str
    run: int
    """Sequence of the run's opening message; 0: there was no run."""
    name: str | None
    """The run id its caller chose."""
    cursor: Cursor
    """The session's last message."""
    updated_seconds: float
    """The broker's time stamp of that message, Unix time; 0: unknown."""
    viewers: int
    """Viewers of this session on this pod."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the terminal carried: `result`, or `reason` and `message`. Empty while the run is open."""


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """The open or last run in one piece. `cursor` is its last message included: stream on from there."""

    cursor: Cursor
    body: Mapping[str, Any]
    """{from, to, parts: [{event, data}]}, as the `session.snapshot` event has it."""


class CancelOutcome(StrEnum):
    """What became of a cancel: one word each, the same from every pod."""

    CANCELLED = "cancelled"
    """This request's record closed the run."""
    ALREADY_CLOSED = "already_closed"
    """The run was over before: it ended, failed, or somebody else's cancel came first."""
    REMEMBERED = "remembered"
    """No run of that name yet; it is cancelled as soon as it starts."""
    UNKNOWN = "unknown"
    """There is no such run."""
