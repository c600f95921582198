"""What a cursor's sequence is (docs/protocol.md, "Cursor and 204")."""

from __future__ import annotations

from collections.abc import Callable

from holdfast_gateway.broker.jetstream.directget import Reader
from holdfast_gateway.ports import Located, SourceUnavailable


async def locate(reader: Reader, stream: str, subject: str, sequence: int, highest: Callable[[], int]) -> Located:
    """Judge a sequence of this stream's incarnation for the session with this subject.

    Any replica's "here it is" is true for good, since a message never changes. A replica's "no" says nothing: the
    leader is asked. `highest` is the highest sequence this pod has seen of the stream, so that a leader that knows less
    is recognised as deposed, and no cursor is called future on its word.

    Raises:
        SourceUnavailable: the leader cannot be asked, or is behind us.
    """
    if sequence == 0:
        return Located.PRESENT
    owner = await reader.owner(stream, sequence)
    if owner is not None:
        return Located.PRESENT if owner == subject else Located.FOREIGN
    last = await reader.last_sequence(stream)
    if sequence > last:
        if sequence <= highest():
            raise SourceUnavailable(f"the leader of {stream} is behind what was seen of it")
        return Located.FUTURE
    present, above = await reader.beyond(stream, subject, sequence)
    if present:
        return Located.PRESENT
    at = await reader.leader(stream, {"seq": sequence})
    if at is not None:
        return Located.PRESENT if at[0] == subject else Located.FOREIGN
    return Located.CLEAN if above is not None and above.previous == sequence else Located.TRIMMED
