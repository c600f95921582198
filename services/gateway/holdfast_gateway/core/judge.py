"""When a producer is dead: the rule, without clocks and without a broker (docs/protocol.md, "Dead producers").

J1. Silence is counted on the pod's own monotonic clock since it first saw the tail, and anew after every trouble: a pod
    that could not hear must not say that nobody spoke. At a first look the broker's time stamp of the tail counts
    instead.
J2. After a lease of silence the pod stores `lost`, by expected sequence. That does not fence: a living writer goes
    on. A lost heartbeat hint only shortens this step.
J3. A lost writer has the grace, measured in seconds in each of which the stream's leader was proven writable. Only
    then, and only if the tail is still the same, is the run closed; the expected sequence lets exactly one pod do it.
J4. A run without a lease is closed after the idle limit. If only time stamps say that it has passed, the grace must
    pass too: the pod's wall clock is not evidence.
J5. A pod that was itself not running for a while (suspended, stalled) has heard nothing in that time: trouble.
J6. The feed and the answers to appends come over two connections, in either order: an answer about a tail that the feed
    has already passed holds nothing up, or of two pods that store `lost` at once one would start its grace late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.wire import Phase, RunState

MAX_TICK_GAP_SECONDS: Final = 5.0
MAX_PROBE_GAP_SECONDS: Final = 2.0
"""Successful probes further apart than this do not prove the time between them."""

PROBE_EVERY_SECONDS: Final = 0.9
"""A little under the second in which one must succeed."""

ANSWER_SECONDS: Final = 5.0
"""How long a record of ours may take to come back through the feed before the judge looks again."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Times of the rule. `idle_seconds` 0: runs without a lease are never closed."""

    hint_lost_seconds: float = 6.0
    grace_seconds: float = 20.0
    idle_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class StoreLost:
    """Append `lost` for this run, expecting this tail."""

    run: int
    expected: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the stream's leader whether it can be written to, and tell `probed`."""


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """Append `failed` with this reason for this run, expecting this tail."""

    run: int
    reason: str
    expected: int


Step = StoreLost | Probe | StoreFailed


class Judge:
    """One per session and pod. Call `tick` about once a second, more often while the producer is lost."""

    __slots__ = (
        "_aged",
        "_answer_by",
        "_asked_at",
        "_busy",
        "_grace_since",
        "_last_proof",
        "_last_tick",
        "_next_probe",
        "_rule",
        "_since",
        "_tail",
    )

    def __init__(self, rule: Rule, now: float) -> None:
        self._rule = rule
        self._tail = 0
        self._since = now
        self._aged = False
        self._busy = False
        self._answer_by = now
        self._asked_at = 0
        self._grace_since: float | None = None
        self._last_proof = now
        self._next_probe = now
        self._last_tick = now

    def saw(self, tail: int, now: float) -> None:
        """A record has come: it is the tail now."""
        self._tail = tail
        self._since = now
        self._aged = False
        self._answer_by = now
        self._grace_since = None

    def first_look(self, age_seconds: float, now: float) -> None:
        """The feed has caught up. `age_seconds`: how old the tail is by the broker's time stamp."""
        if age_seconds > now - self._since:
            self._since = now - age_seconds
            self._aged = True

    def trouble(self, now: float) -> None:
        """A reconnect, or a request that failed: clocks of silence restart (J1)."""
        self._since = now
        self._aged = False
        self._grace_since = None

    def tick(self, now: float, state: RunState, hint_silent_seconds: float | None, looked_at: bool) -> Step | None:
        """What to do now, if anything. Nothing more is asked for until that is answered."""
        gap, self._last_tick = now - self._last_tick, now
        if gap > MAX_TICK_GAP_SECONDS:
            self.trouble(now)
        if not looked_at or self._busy or now < self._answer_by or state.phase is not Phase.OPEN:
            return None
        step = self._next(now, state, hint_silent_seconds)
        self._busy = step is not None
        self._asked_at = self._tail
        return step

    def _next(self, now: float, state: RunState, hint_silent_seconds: float | None) -> Step | None:
        lease = state.lease_seconds
        if state.lost:
            return self._closing(now, state.run, "producer_lost")
        silent = now - self._since
        if lease is None:
            idle = self._rule.idle_seconds
            if not idle or silent < idle:
                return None
            return self._closing(now, state.run, "idle") if self._aged else StoreFailed(state.run, "idle", self._tail)
        if hint_silent_seconds is not None and hint_silent_seconds >= self._rule.hint_lost_seconds:
            lease = min(lease, self._rule.hint_lost_seconds)
        return StoreLost(state.run, self._tail) if silent >= lease else None

    def _closing(self, now: float, run: int, reason: str) -> Step | None:
        since = self._grace_since
        if since is not None and now - self._last_proof > MAX_PROBE_GAP_SECONDS:
            since = self._grace_since = None
        if since is not None and now - since >= self._rule.grace_seconds:
            return StoreFailed(run, reason, self._tail)
        if now < self._next_probe:
            return None
        self._next_probe = now + PROBE_EVERY_SECONDS
        return Probe()

    def probed(self, ok: bool, tail: int, now: float) -> None:
        """The answer to `Probe`, which was asked while `tail` was the tail."""
        self._busy = False
        if not ok:
            self.trouble(now)
        elif tail == self._tail:
            if self._grace_since is None:
                self._grace_since = now
            self._last_proof = now

    def stored(self, now: float) -> None:
        """Our record is committed; it comes back through the feed, or has done so before this answer (J6)."""
        self._busy = False
        if self._tail == self._asked_at:
            self._answer_by = now + ANSWER_SECONDS

    def refused(self, now: float) -> None:
        """Somebody else has written: the feed will tell (J3), or has done so (J6)."""
        told = self._tail != self._asked_at
        self.stored(now)
        if not told:
            self.trouble(now)

    def unsettled(self, now: float) -> None:
        """Nobody knows whether our record is stored."""
        self._busy = False
        self.trouble(now)

    @property
    def tail(self) -> int:
        """The tail that is judged."""
        return self._tail
