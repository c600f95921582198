"""A viewer's place in a session, and what follows from it. Pure; the runtime adds the connection.

V1. A place only moves forward, by whole entries; the rest of a half-delivered message goes out before the first of
    them.
V2. Nothing is sent behind the terminal that ends the stream: a viewer that does not follow is over as soon as it
    stands at the tail of a session that is.
V3. What counts as lag is what came in while the viewer read nothing: one that is still replaying an old log is not
    slow.
"""

from __future__ import annotations

from holdfast_gateway.core.log import Mark
from holdfast_gateway.core.session import SessionCore

_NOT_STALLED = -1


class Place:
    """Where a viewer stands. `mark` names the last entry it has."""

    __slots__ = ("follow", "mark", "stalled_bytes")

    def __init__(self, mark: Mark, follow: bool) -> None:
        self.mark = mark
        self.follow = follow
        self.stalled_bytes = _NOT_STALLED

    def over(self, core: SessionCore) -> bool:
        """Whether everything is delivered and nothing more will come for this viewer (V2)."""
        return not self.follow and self.mark is core.log.tail and core.over

    def stalled(self, tail: Mark, lag_bytes: int) -> bool:
        """The viewer takes nothing just now. True if too much has come in since it stopped (V3)."""
        if self.stalled_bytes == _NOT_STALLED:
            self.stalled_bytes = tail.total_bytes
            return False
        return tail.total_bytes - self.stalled_bytes > lag_bytes

    def flows(self) -> None:
        """The viewer takes data again."""
        self.stalled_bytes = _NOT_STALLED
