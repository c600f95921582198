"""How many viewers: per session and per pod. A refused stream is told to come back, not turned away."""

from __future__ import annotations

from holdfast_gateway.core.close_reasons import RefusalReason


class Admission:
    """Counts places. Every admitted viewer is released exactly once."""

    __slots__ = ("_max_per_session", "_max_viewers", "draining", "viewers")

    def __init__(self, max_viewers: int, max_per_session: int) -> None:
        self._max_viewers = max_viewers
        self._max_per_session = max_per_session
        self.viewers = 0
        self.draining = False

    def admit(self, session_viewers: int) -> RefusalReason | None:
        """Take a place for one more viewer of a session that has so many, or say why not."""
        if self.draining:
            return RefusalReason.DRAINING
        if self.viewers >= self._max_viewers:
            return RefusalReason.POD_FULL
        if session_viewers >= self._max_per_session:
            return RefusalReason.SESSION_FULL
        self.viewers += 1
        return None

    def release(self) -> None:
        """Give a place back."""
        self.viewers -= 1
