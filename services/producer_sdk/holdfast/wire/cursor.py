"""Cursors: the SSE `id`, `<incarnation>-<sequence>[.<item>]`.

Without an item it means the whole message at that sequence; with one, that message's events up to and including
that item (counted from 0). The incarnation is the stream's: a recreated or restored stream counts anew, and a cursor
of the old one must never be taken for a place in the new one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.wire.errors import InvalidCursor

_CURSOR = re.compile(r"([a-z0-9]{1,16})-(0|[1-9][0-9]{0,18})(?:\.(0|[1-9][0-9]{0,3}))?")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a session's log: everything up to and including it has been delivered.

    Sequence 0 is the place before the session's first message.
    """

    incarnation: str
    sequence: int
    item: int | None = None

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises `InvalidCursor` for anything that `str()` of a cursor could not have made."""
        m = _CURSOR.fullmatch(text)
        if m is None:
            raise InvalidCursor(text)
        incarnation, sequence, item = m.groups()
        if int(sequence) >= 1 << 63 or (sequence == "0" and item is not None):
            raise InvalidCursor(text)
        return cls(incarnation, int(sequence), None if item is None else int(item))

    def __str__(self) -> str:
        whole = f"{self.incarnation}-{self.sequence}"
        return whole if self.item is None else f"{whole}.{self.item}"
