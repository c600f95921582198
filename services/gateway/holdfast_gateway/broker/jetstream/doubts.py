"""When to leave a server that answers and yet is of no use: one that is cut off from its cluster.

Its clients stay connected, its replicas answer from the past, and nothing live arrives. Two signs, each with patience,
since a cluster in the middle of an election gives them as well and is better not left.
"""

from __future__ import annotations

MUTE_SECONDS = 10.0
"""No answer to "which streams are there" for this long: longer than an election takes (4 to 9 s)."""

MUTE_LOOKS = 4
"""And that many looks: a process that was stopped itself has one long look, and no reason to doubt anybody else."""

REST_SECONDS = 30.0
"""Between two moves: where every server is like this, moving helps nobody."""

BLIND_ROUNDS = 3
"""Tail checks in a row that found messages while none at all came in live."""


class Doubts:
    """Judges the two connections. Pure; `now` is any clock's seconds."""

    def __init__(self) -> None:
        self._mute_since: float | None = None
        self._mute_looks = 0
        self._rest_until = 0.0
        self._blind = 0

    @property
    def mute(self) -> bool:
        """Whether the last look was not answered."""
        return self._mute_since is not None

    def looked(self, answered: bool, now: float) -> bool:
        """A look at the streams; whether to move to another server."""
        if answered:
            self._mute_since = None
            self._mute_looks = 0
            return False
        if self._mute_since is None:
            self._mute_since = now
        self._mute_looks += 1
        if self._mute_looks < MUTE_LOOKS or now - self._mute_since < MUTE_SECONDS or now < self._rest_until:
            return False
        self._rest_until = now + REST_SECONDS
        return True

    def swept(self, heard: int, found: int) -> bool:
        """A round of tail checks over all streams: sessions that live messages reached since the one before, and
        sessions with messages that did not come. Whether to move the live connection."""
        if heard:
            self._blind = 0
        elif found:
            self._blind += 1
        if self._blind < BLIND_ROUNDS:
            return False
        self._blind = 0
        return True
