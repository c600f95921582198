"""What goes into and comes out of a session writer: its settings, the I/O it asks for, what it has in flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from holdfast.wire import Draft, Event


@dataclass(frozen=True, slots=True)
class Settings:
    """How one writer behaves. Durations in seconds, sizes in bytes."""

    mode: Literal["start", "takeover"] = "start"
    if_open: Literal["fence", "raise"] = "fence"
    name: str | None = None
    lease_seconds: float | None = 30.0
    interval_seconds: float = 0.02
    buffer_bytes: int = 1024 * 1024
    buffer_events: int = 16_384
    give_up_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Send:
    """Append this, expecting the subject's last message to be `expected`. Answer with `answered`."""

    draft: Draft
    expected: int


@dataclass(frozen=True, slots=True)
class Look:
    """Read one page of the session's own subject behind `after`. Answer with `looked` or `look_failed`."""

    after: int


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing to do until then, unless something comes in."""

    until: float


Action = Send | Look | Sleep


@dataclass(slots=True)
class Attempt:
    draft: Draft
    first_at: float
    events: list[Event] = field(default_factory=list)
    tries: int = 0
    retry_at: float = 0.0
    uncertain: bool = False
    why: str = ""
