"""Stored messages: what a producer, a pod or a plain NATS client appends, and how everyone reads it.

Encoding is strict and raises before anything is sent. Decoding is total: any bytes from anyone have exactly one
meaning, because the log is already written when somebody reads it. What is malformed is read as the nearest plain
thing and marked, so that it can be counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from holdfast.wire import headers as h
from holdfast.wire.errors import EventTooLarge
from holdfast.wire.event import MESSAGE, Event, usable_type, utf8
from holdfast.wire.limits import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_HEADER_BYTES, MAX_PAYLOAD_JSON_BYTES
from holdfast.wire.subjects import run_name

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Kind(StrEnum):
    """What a stored message is. `DATA` is the absence of the header; anything not listed is `UNKNOWN`."""

    DATA = "data"
    START = "start"
    TAKEOVER = "takeover"
    ALIVE = "alive"
    LOST = "lost"
    RESET = "reset"
    END = "end"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERASED = "erased"
    UNKNOWN = "unknown"


_KINDS = {kind.value: kind for kind in Kind if kind not in (Kind.DATA, Kind.UNKNOWN)}
TERMINALS = frozenset({Kind.END, Kind.FAILED, Kind.CANCELLED, Kind.ERASED})


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to be appended, without the broker's own headers."""

    kind: Kind
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Record(NamedTuple):
    """A stored message as read: one sequence of one session's subject. A tuple, because every reader makes millions.

    `first_index` is the run's dense index of the first event. `run` names a run by the sequence of its opening
    message, `run_name` by the id its caller chose. `previous` is the sequence of the subject's message before this one
    as the broker says it (0: there was none, None: it did not say). `time_seconds` is the server's time stamp, Unix
    time, 0.0 if unknown.
    """

    sequence: int
    kind: Kind
    events: tuple[Event, ...] = ()
    writer: str | None = None
    first_index: int = 0
    run: int | None = None
    run_name: str | None = None
    lease_seconds: float | None = None
    payload: Mapping[str, Any] = NOTHING
    previous: int | None = None
    time_seconds: float = 0.0
    marker: bool = False
    malformed: bool = False


# ---------------------------------------------------------------------------------------------------- encoding


class Batch:
    """Events on their way into one message: what still fits is known before it is added.

    Bounds: 1,024 events, 64 KiB of body (a single larger event travels alone), and the header that lists lengths
    and types below its share of the 8 KiB.
    """

    __slots__ = ("_header_bytes", "_types", "events", "size_bytes")

    _LENGTHS_BYTES = MAX_HEADER_BYTES - 1024  # the other headers' share, with room

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.size_bytes = 0
        self._types: set[str] = set()
        self._header_bytes = 0

    def fits(self, event: Event) -> bool:
        """Whether `add` may be called. An empty batch takes anything."""
        if not self.events:
            return True
        extra = 11 + (0 if event.type in self._types else len(event.type) + 1)
        return (
            len(self.events) < MAX_BATCH_EVENTS
            and self.size_bytes + len(event.data) <= MAX_BATCH_BYTES
            and self._header_bytes + extra <= self._LENGTHS_BYTES
        )

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.size_bytes += len(event.data)
        self._header_bytes += 2 + len(str(len(event.data)))
        if event.type not in self._types:
            self._types.add(event.type)
            self._header_bytes += len(event.type) + 1
        if len(self._types) > 1:
            self._header_bytes += 4


def data(events: Sequence[Event], *, writer: str | None = None, run: int | None = None, index: int = 0) -> Draft:
    """One message of one or several events. `index` is the run's dense index of the first of them.

    Raises `EventTooLarge` for a batch that `Batch.fits` would have refused.
    """
    headers: dict[str, str] = {}
    if writer is not None:
        headers[h.WRITER] = writer
        headers[h.INDEX] = str(index)
        headers[h.COUNT] = str(len(events))
    if run is not None:
        headers[h.RUN] = str(run)
    if len(events) == 1:
        only = events[0]
        if only.type != MESSAGE:
            headers[h.TYPE] = only.type
        return Draft(Kind.DATA, only.data, headers)
    body = b"".join([e.data for e in events])
    types = list(dict.fromkeys([e.type for e in events]))
    if len(types) == 1:
        if types[0] != MESSAGE:
            headers[h.TYPE] = types[0]
        headers[h.LENGTHS] = ",".join([str(len(e.data)) for e in events])
    else:
        place = {t: i for i, t in enumerate(types)}
        items = [f"{len(e.data)}:{place[e.type]}" if place[e.type] else str(len(e.data)) for e in events]
        headers[h.LENGTHS] = f"{','.join(types)};{','.join(items)}"
    if len(body) > MAX_BATCH_BYTES or len(events) > MAX_BATCH_EVENTS or h.size_bytes(headers) > MAX_HEADER_BYTES:
        raise EventTooLarge(len(body), MAX_BATCH_BYTES)
    return Draft(Kind.DATA, body, headers)


def start(writer: str, *, lease_seconds: float | None = None, name: str | None = None) -> Draft:
    """Open a run; fences every other writer. `name` is a run id of the caller's choice, so that it can be cancelled
    before it starts."""
    headers = {h.KIND: Kind.START.value, h.WRITER: writer}
    if lease_seconds is not None:
        headers[h.LEASE] = f"{lease_seconds:g}"
    if name is not None:
        headers[h.RUN] = f"={run_name(name)}"
    return Draft(Kind.START, b"", headers)


def takeover(writer: str, run: int, *, lease_seconds: float | None = None) -> Draft:
    """Continue an open run as another writer; fences the one before."""
    headers = {h.KIND: Kind.TAKEOVER.value, h.WRITER: writer, h.RUN: str(run)}
    if lease_seconds is not None:
        headers[h.LEASE] = f"{lease_seconds:g}"
    return Draft(Kind.TAKEOVER, b"", headers)


def alive(writer: str, run: int, *, lease_seconds: float | None = None) -> Draft:
    headers = {h.KIND: Kind.ALIVE.value, h.WRITER: writer, h.RUN: str(run)}
    if lease_seconds is not None:
        headers[h.LEASE] = f"{lease_seconds:g}"
    return Draft(Kind.ALIVE, b"", headers)


def reset(writer: str, run: int, *, index: int = 0) -> Draft:
    """Void what the run has said so far; viewers drop it."""
    return Draft(Kind.RESET, b"", {h.KIND: Kind.RESET.value, h.WRITER: writer, h.RUN: str(run), h.INDEX: str(index)})


def lost(run: int) -> Draft:
    """A pod's word that the writer has been silent for its lease. Does not fence."""
    return Draft(Kind.LOST, b"", {h.KIND: Kind.LOST.value, h.RUN: str(run)})


def end(writer: str | None, run: int | None, *, index: int = 0, result: Any = None) -> Draft:
    """Close a run well. `result` is any JSON value (usage, finish reason), 16 KiB at most."""
    return Draft(
        Kind.END,
        b"" if result is None else _json({"result": result}),
        _by(Kind.END, writer, run, index),
    )


def failed(writer: str | None, run: int | None, reason: str, message: str = "", *, index: int = 0) -> Draft:
    """Close a run as failed: by its writer, or (writer None) by a pod."""
    return Draft(
        Kind.FAILED,
        _json({"reason": reason, "message": message} if message else {"reason": reason}),
        _by(Kind.FAILED, writer, run, index),
    )


def cancelled(run: int | str, reason: str | None = None) -> Draft:
    """Stop a run, named by its opening sequence or by the id its caller chose (also before it starts)."""
    target = str(run) if isinstance(run, int) else f"={run_name(run)}"
    body = b"" if reason is None else _json({"reason": reason})
    return Draft(Kind.CANCELLED, body, {h.KIND: Kind.CANCELLED.value, h.RUN: target})


def erased() -> Draft:
    """The session's content is gone; what comes before is purged next."""
    return Draft(Kind.ERASED, b"", {h.KIND: Kind.ERASED.value})


def _by(kind: Kind, writer: str | None, run: int | None, index: int) -> dict[str, str]:
    headers = {h.KIND: kind.value}
    if writer is not None:
        headers[h.WRITER] = writer
        headers[h.INDEX] = str(index)
    if run is not None:
        headers[h.RUN] = str(run)
    return headers


def _json(value: Mapping[str, Any]) -> bytes:
    body = utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    if len(body) > MAX_PAYLOAD_JSON_BYTES:
        raise EventTooLarge(len(body), MAX_PAYLOAD_JSON_BYTES)
    return body


# ---------------------------------------------------------------------------------------------------- decoding


def decode(
    sequence: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    previous: int | None = None,
    time_seconds: float = 0.0,
) -> Record:
    """Read a stored message. Never raises."""
    if h.MARKER_REASON in headers:
        return Record(sequence, Kind.UNKNOWN, previous=previous, time_seconds=time_seconds, marker=True)
    writer = headers.get(h.WRITER)
    raw_run = headers.get(h.RUN)
    run = h.number(raw_run)
    kind_name = headers.get(h.KIND)
    if kind_name is None:
        events, malformed = _events(headers, body)
        return Record(
            sequence,
            Kind.DATA,
            events,
            writer,
            h.number(headers.get(h.INDEX)) or 0,
            run,
            previous=previous,
            time_seconds=time_seconds,
            malformed=malformed,
        )
    return Record(
        sequence,
        _KINDS.get(kind_name, Kind.UNKNOWN),
        (),
        writer,
        h.number(headers.get(h.INDEX)) or 0,
        run,
        raw_run[1:] if raw_run is not None and raw_run.startswith("=") else None,
        _lease(headers.get(h.LEASE)),
        _payload(body),
        previous,
        time_seconds,
    )


def _events(headers: Mapping[str, str], body: bytes) -> tuple[tuple[Event, ...], bool]:
    named = headers.get(h.TYPE, MESSAGE)
    malformed = not usable_type(named)
    if malformed:
        named = MESSAGE
    lengths = headers.get(h.LENGTHS)
    if lengths is None:
        return (Event(body, named),), malformed
    events = _split(lengths, named, body)
    return ((Event(body, named),), True) if events is None else (events, malformed)


def _split(lengths: str, named: str, body: bytes) -> tuple[Event, ...] | None:
    """The coalesced events, or None where the lengths and the body do not belong together."""
    head, semicolon, tail = lengths.partition(";")
    types = head.split(",") if semicolon else [named]
    items = (tail if semicolon else head).split(",")
    if len(items) > MAX_BATCH_EVENTS or not all(map(usable_type, types)):
        return None
    events, at = [], 0
    for item in items:
        digits, colon, place = item.partition(":")
        size, which = h.number(digits), h.number(place) if colon else 0
        if size is None or which is None or which >= len(types):
            return None
        events.append(Event(body[at : at + size], types[which]))
        at += size
    return tuple(events) if at == len(body) else None


def _lease(value: str | None) -> float | None:
    try:
        lease = float(value) if value is not None else 0.0
    except ValueError:
        return None
    return lease if 0.0 < lease <= 86_400.0 else None


def _payload(body: bytes) -> Mapping[str, Any]:
    if not body or len(body) > MAX_PAYLOAD_JSON_BYTES:
        return NOTHING
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NOTHING
    return value if isinstance(value, dict) else NOTHING


def _refuse(name: str) -> None:
    raise ValueError(name)
