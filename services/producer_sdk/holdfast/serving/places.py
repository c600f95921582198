"""A viewer's cursor against a densely numbered log: the arithmetic that memory and Redis share."""

from __future__ import annotations

from holdfast.serving.records import CLEARED, START_ID, Place, Position, Record, State, gap
from holdfast.wire.cursor import Cursor
from holdfast.wire.errors import InvalidCursor


def locate_in(run: str, state: State, dropped: int, last: int, last_id: str) -> Place:
    """Where a viewer begins in a log of records `dropped + 1` to `last`. A cursor that is no place there is told."""
    if last_id in ("", START_ID):
        return Place(run, (0, 0), state)
    try:
        cursor = Cursor.parse(last_id)
    except InvalidCursor:
        return Place(run, (0, 0), state, gap("malformed", last_id))
    if cursor.incarnation != run or cursor.item is not None or cursor.sequence == 0:
        return Place(run, (0, 0), state, gap("foreign", last_id))
    if cursor.sequence > last:
        return Place(run, (0, 0), state, gap("future", last_id))
    at_end = state != "open" and cursor.sequence == last
    return Place(run, (cursor.sequence, 0), state, at_end=at_end)


def trimmed_between(run: str, after: Position, dropped: int) -> tuple[Position, Record]:
    """The place to go on from when records up to `dropped` are gone, and what to tell the viewer."""
    requested = f"{run}-{after[0]}" if after[0] else START_ID
    return (dropped, 0), gap("trimmed", requested, (dropped, 0))


def cleared_after(after: Position) -> Record:
    """The terminal of followers whose session was cleared. It is in no log, so it has no id."""
    return Record((after[0], after[1] + 1), "", "failed", CLEARED.data)
