"""What a session's storage keeps and how a viewer's place in it is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Position: TypeAlias = tuple[int, int]
"""A place in a session's log, ordered: everything up to and including it has been delivered."""

START: Final[Position] = (0, 0)

START_ID: Final = "0"
"""The `last_id` that means the start. Never issued as an id."""

RESERVED_TYPES: Final = frozenset({"end", "failed", "gap"})
"""Event names that only the streamer itself sends: a chunk of that name would tell viewers what is not so."""

State: TypeAlias = Literal["open", "end", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One event of a session as viewers get it.

    Attributes:
        position: the place after it.
        id: the SSE id; empty for what is not in the log (`gap`).
        kind: `data`, the two terminals `end` and `failed`, or `gap`.
    """

    position: Position
    id: str
    kind: Literal["data", "end", "failed", "gap"]
    data: str
    type: str = "message"

    @property
    def terminal(self) -> bool:
        return self.kind in ("end", "failed")

    @property
    def size_bytes(self) -> int:
        return len(self.data) + len(self.type) + 64

    def to_sse(self, *, terminal_id: bool) -> dict[str, Any]:
        """The dict that `sse_starlette.EventSourceResponse` takes."""
        name = self.type if self.kind == "data" else self.kind
        if self.kind == "data" or (terminal_id and self.terminal and self.id):
            return {"event": name, "id": self.id, "data": self.data}
        return {"event": name, "data": self.data}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `message` is the text that viewers get: the caller's choice, never a traceback."""

    kind: Literal["end", "failed"]
    reason: str = ""
    message: str = ""

    @property
    def data(self) -> str:
        if self.kind == "end":
            return ""
        return to_json({"reason": self.reason, "message": self.message})


END: Final = Outcome("end")
LOST: Final = Outcome("failed", "producer_lost")
"""Nothing came from the run's producer for the length of its lease."""

STOPPED: Final = Outcome("failed", "producer_stopped")
CLEARED: Final = Outcome("failed", "cleared")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a viewer begins.

    Attributes:
        run: which filling of the session this is; another one after `clear`.
        after: everything up to here it has.
        state: of the session when it was looked up.
        gap: what the viewer is to be told first, if its cursor was of no use.
        at_end: its cursor is the terminal itself: there is nothing to send, now or ever.
    """

    run: str
    after: Position
    state: State
    gap: Record | None = None
    at_end: bool = False


def gap(
    reason: Literal["malformed", "foreign", "future", "trimmed"], requested: str, after: Position = START
) -> Record:
    """Tell a viewer that its place is not there and what it gets instead."""
    return Record(after, "", "gap", to_json({"reason": reason, "requested": requested}))


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
