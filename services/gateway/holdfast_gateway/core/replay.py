"""A page of the broker's log, folded into frames for viewers that stand before the ring. Pure.

R1. A page is read from the viewer's own last sequence on, inclusively: if that record comes first, nothing behind it
    can be missing, because logs are trimmed from the front.
R2. If it does not, the back pointer of the first record may say the same. Otherwise the stream's leader is asked.
R3. Pages end where the session's own fold ends: what the feed has not folded comes by the feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast.wire import Phase, Record, RunState, step
from holdfast_gateway.core import sse
from holdfast_gateway.core.gaps import opens_with_gap


class Anchor(Enum):
    """How a page joins up with the place it was read from."""

    JOINED = "joined"
    """Nothing lies between."""
    ASK = "ask"
    """Only the leader can say."""
    HOLE = "hole"
    """The place is there, and the first record behind it points at one that is not."""
    EMPTY = "empty"
    """The replica has nothing behind the place, yet."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Frames of consecutive records. `last` is the sequence of the last one; `hole`: records are missing behind it."""

    data: bytes
    last: int
    hole: bool = False


def anchor(after: int, records: Sequence[Record]) -> Anchor:
    """Judge a page that was read from `after`, inclusively; `after` 0 is the log's beginning."""
    behind = [record for record in records[:2] if record.sequence > after]
    if not behind:
        return Anchor.EMPTY
    pointer = behind[0].previous or 0
    if after == 0 or 0 < pointer <= after:
        return Anchor.JOINED
    if records[0].sequence == after:
        return Anchor.HOLE if pointer else Anchor.JOINED
    return Anchor.ASK


def replay(incarnation: str, state: RunState, after: int, upto: int, records: Sequence[Record]) -> Replay:
    """Fold the records behind `after`, up to and including `upto`, read in `state`."""
    frames: list[bytes] = []
    place = after
    has_it = after > 0 and state.phase is Phase.NONE  # what comes before the log's first run, or was told (G1)
    for record in records:
        sequence = record.sequence
        if sequence <= place:
            continue
        if sequence > upto:
            break
        if place > after and record.previous is not None and record.previous > place:
            return Replay(b"".join(frames), place, hole=True)
        state, outputs = step(state, record)
        if has_it and opens_with_gap(outputs):
            outputs = outputs[1:]
        has_it = has_it and state.phase is Phase.NONE
        if outputs:
            frames.append(sse.encode(incarnation, sequence, outputs).data)
        place = sequence
    return Replay(b"".join(frames), place)


def rest_of(incarnation: str, state: RunState, record: Record, item: int) -> bytes:
    """What is left of a record, read in `state`, for a viewer that has its items up to and including this one."""
    _, outputs = step(state, record)
    return sse.rest_after(sse.encode(incarnation, record.sequence, outputs), item)
