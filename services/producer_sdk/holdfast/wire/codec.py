"""Messages as producers, pods and tools make them. Strict: what is refused is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.wire import headers as h
from holdfast.wire.errors import EventTooLarge
from holdfast.wire.event import MESSAGE, Event, event_type, utf8
from holdfast.wire.limits import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_HEADER_BYTES,
    MAX_LEASE_SECONDS,
    MAX_PAYLOAD_DEPTH,
    MAX_PAYLOAD_JSON_BYTES,
)
from holdfast.wire.record import NOTHING, TERMINALS, Kind, Record, decode, payload
from holdfast.wire.subjects import run_name, token

__all__ = [
    "NOTHING",
    "TERMINALS",
    "Batch",
    "Draft",
    "Kind",
    "Record",
    "alive",
    "cancelled",
    "data",
    "decode",
    "end",
    "erased",
    "failed",
    "lost",
    "reset",
    "start",
    "takeover",
]


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to be appended, without the broker's own headers."""

    kind: Kind
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


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
        """Take an event that `fits`."""
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

    Raises:
        EventTooLarge: a batch that `Batch.fits` would have refused.
        InvalidEventType: an event made without `event()`, with a name that is not ours to carry.
        ValueError: no events.
    """
    if not events:
        raise ValueError("a message carries at least one event")
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
            headers[h.TYPE] = event_type(only.type)
        return Draft(Kind.DATA, only.data, headers)
    body = b"".join([e.data for e in events])
    types = [event_type(t) for t in dict.fromkeys([e.type for e in events])]
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
    headers = _holder(Kind.START, writer, lease_seconds)
    if name is not None:
        headers[h.RUN] = f"={run_name(name)}"
    return Draft(Kind.START, b"", headers)


def takeover(writer: str, run: int, *, lease_seconds: float | None = None) -> Draft:
    """Continue an open run as another writer; fences the one before."""
    return Draft(Kind.TAKEOVER, b"", {**_holder(Kind.TAKEOVER, writer, lease_seconds), h.RUN: str(run)})


def alive(writer: str, run: int, *, lease_seconds: float | None = None) -> Draft:
    """Renew the lease of a writer that has nothing to say. It repeats the lease, for readers of a trimmed log."""
    return Draft(Kind.ALIVE, b"", {**_holder(Kind.ALIVE, writer, lease_seconds), h.RUN: str(run)})


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


def _holder(kind: Kind, writer: str, lease_seconds: float | None) -> dict[str, str]:
    """Headers of a record that makes its writer the holder, or keeps it so."""
    headers = {h.KIND: kind.value, h.WRITER: token("writer id", writer)}
    if lease_seconds is not None:
        if not 0.001 <= lease_seconds <= MAX_LEASE_SECONDS:
            raise ValueError(f"a lease is 0.001 to {MAX_LEASE_SECONDS:g} seconds, not {lease_seconds!r}")
        headers[h.LEASE] = f"{lease_seconds:.3f}".rstrip("0").rstrip(".")
    return headers


def _by(kind: Kind, writer: str | None, run: int | None, index: int) -> dict[str, str]:
    headers = {h.KIND: kind.value}
    if writer is not None:
        headers[h.WRITER] = writer
        headers[h.INDEX] = str(index)
    if run is not None:
        headers[h.RUN] = str(run)
    return headers


def _json(value: Mapping[str, Any]) -> bytes:
    body = utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    if payload(body) is NOTHING and len(body) <= MAX_PAYLOAD_JSON_BYTES:
        raise ValueError(f"a payload is JSON of at most {MAX_PAYLOAD_DEPTH} levels with finite numbers")
    if len(body) > MAX_PAYLOAD_JSON_BYTES:
        raise EventTooLarge(len(body), MAX_PAYLOAD_JSON_BYTES)
    return body
