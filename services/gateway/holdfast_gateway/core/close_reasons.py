"""Why the gateway ends a viewer's stream: one small public vocabulary for the wire, the metric label and the log.

A stream that ends is not an error to a viewer: `EventSource` comes back with its last id, and the cursor makes that
exact. `resume` says whether coming back gets anything.
"""

from __future__ import annotations

from enum import Enum


class CloseReason(Enum):
    """Value: the word on the wire (`: closed <word>`), in metrics and in logs. `resume`: whether to come back."""

    ENDED = ("ended", False)
    """The run is over and everything was sent. Coming back is answered 204."""
    DRAINING = ("draining", True)
    """This pod is going away; another one serves the same stream."""
    LAGGING = ("lagging", True)
    """The viewer read nothing while more than the lag bound came in."""
    MOVED = ("moved", True)
    """The broker's stream was replaced; the cursor is judged anew."""
    EXPIRED = ("expired", True)
    """The viewer's permission ran out; come back with a fresh one."""
    AGED = ("aged", True)
    """The stream reached its age bound; coming back spreads viewers over the pods again."""
    GONE = ("gone", True)
    """The viewer's connection ended. Nobody is left to be told."""
    STOPPED = ("stopped", True)
    """The gateway stopped without draining."""

    def __init__(self, word: str, resume: bool) -> None:
        self.word = word
        self.resume = resume

    def __str__(self) -> str:
        return self.word


class RefusalReason(Enum):
    """Why a stream was not begun. Answered 200 with `retry:` and an end: `EventSource` gives up on anything else."""

    DRAINING = "draining"
    SESSION_FULL = "session_full"
    POD_FULL = "pod_full"

    def __str__(self) -> str:
        return self.value
