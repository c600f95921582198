"""Stored messages as everyone reads them.

Decoding is total: any bytes from anyone have exactly one meaning, because the log is already written when somebody
reads it. What is malformed is read as the nearest plain thing and marked, so that it can be counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from holdfast.wire import headers as h
from holdfast.wire.event import MESSAGE, Event, usable_type, utf8
from holdfast.wire.limits import MAX_BATCH_EVENTS, MAX_LEASE_SECONDS, MAX_PAYLOAD_DEPTH, MAX_PAYLOAD_JSON_BYTES
from holdfast.wire.subjects import is_token

NOTHING: Mapping[str, Any] = MappingProxyType({})

_LEASE = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,6})?")


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
    bad_writer = writer is not None and not is_token(writer)
    if bad_writer:  # a subject token for hints, and a name people see: anything else is a plain client's
        writer = None
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
            malformed=malformed or bad_writer,
        )
    name = raw_run[1:] if raw_run is not None and raw_run.startswith("=") else None
    return Record(
        sequence,
        _KINDS.get(kind_name, Kind.UNKNOWN),
        (),
        writer,
        h.number(headers.get(h.INDEX)) or 0,
        run,
        name if name is not None and is_token(name) else None,
        _lease(headers.get(h.LEASE)),
        payload(body),
        previous,
        time_seconds,
        malformed=bad_writer or (raw_run is not None and run is None and (name is None or not is_token(name))),
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
    if value is None or not _LEASE.fullmatch(value):
        return None
    lease = float(value)
    return lease if 0.0 < lease <= MAX_LEASE_SECONDS else None


def payload(body: bytes) -> Mapping[str, Any]:
    """A control message's JSON object, fit to be encoded again; empty where the body is anything else."""
    if not body or len(body) > MAX_PAYLOAD_JSON_BYTES:
        return NOTHING
    try:
        value = _clean(json.loads(body.decode("utf-8"), parse_constant=_refuse), MAX_PAYLOAD_DEPTH)
    except (ValueError, RecursionError):
        return NOTHING
    return value if isinstance(value, dict) else NOTHING


def _clean(value: Any, depth: int) -> Any:
    """JSON that every encoder and every browser takes: bounded depth, finite numbers, no lone surrogates."""
    if isinstance(value, str):
        return utf8(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    if isinstance(value, (dict, list)):
        if not depth:
            raise ValueError("too deep")
        if isinstance(value, list):
            return [_clean(item, depth - 1) for item in value]
        return {utf8(key).decode(): _clean(item, depth - 1) for key, item in value.items()}
    return value


def _refuse(name: str) -> None:
    raise ValueError(name)
