"""The life of a session's runs, as one pure function from the log to a state and what viewers are told.

Every pod, writer and reader, today or tomorrow, folds the same records and gets the same story. The table is total:
each kind of record in each phase has one meaning. `open` carries the run (the sequence of its opening message), and
its holder (the writer whose messages count; None for a run that plain NATS messages opened).

| record             | none                      | open                                        | closed                         |
|--------------------|---------------------------|---------------------------------------------|--------------------------------|
| start              | open                      | failed{superseded}, then open               | open                           |
| ... of a cancelled name | open, then cancelled | failed{superseded}, open, then cancelled    | open, then cancelled           |
| takeover           | void                      | the holder changes                          | void                           |
| data, holder's     | gap{trimmed}, open, data  | data                                        | void, a broker fault           |
| data, other writer's | as holder's             | void, a broker fault                        | void, a broker fault           |
| data, plain        | open (implicit), data     | data; does not fence                        | after end: open (implicit), data; else void |
| reset              | void                      | the run's output is void                    | void                           |
| alive              | gap{trimmed}, open        | producer back, if it was lost               | void                           |
| lost               | void                      | producer lost, if its run is this one       | void                           |
| end, failed        | gap{trimmed}, closed      | closed, if from the holder, a pod or plain  | void                           |
| cancelled, by run  | void                      | closed if the run is this one               | void                           |
| cancelled, by name | remembered                | closed if the name is this one's, else remembered | remembered               |
| erased             | closed                    | closed                                      | closed, nothing told           |
| unknown, marker    | void                      | void                                        | void                           |

Why `none` meets a holder's data, alive or terminal at all: the log is trimmed from the front, so a run's opening may be gone.
The writer's messages name their run (`Holdfast-Run`), so that a cancel still finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from holdfast.wire.codec import NOTHING, Kind, Record
from holdfast.wire.event import Event
from holdfast.wire.limits import MAX_REMEMBERED_CANCELS

START: Final = "session.start"
END: Final = "session.end"
FAILED: Final = "session.failed"
CANCELLED: Final = "session.cancelled"
RESET: Final = "session.reset"
GAP: Final = "session.gap"
PRODUCER: Final = "session.producer"
SNAPSHOT: Final = "session.snapshot"


class Phase(StrEnum):
    NONE = "none"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a session stands after a prefix of its log. `run` is 0 while there was none."""

    phase: Phase = Phase.NONE
    run: int = 0
    name: str | None = None
    writer: str | None = None
    lease_seconds: float | None = None
    lost: bool = False
    closed_by: Kind | None = None
    closed_at: int = 0
    payload: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    cancelled_names: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """One word for people and APIs: none, open, lost, ended, failed, cancelled, erased."""
        if self.phase is Phase.OPEN:
            return "lost" if self.lost else "open"
        if self.closed_by is Kind.END:
            return "ended"
        return self.closed_by.value if self.closed_by is not None else "none"


NEW: Final = RunState()


@dataclass(frozen=True, slots=True)
class Control:
    """Something viewers are told beside the data. `counted` ones are places in the log and carry an id."""

    event: str
    data: Mapping[str, Any]
    counted: bool = True


Output = Event | Control
_NONE: Final[tuple[Output, ...]] = ()


def step(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    """Fold one record. What comes out is told in this order; an empty tuple is a void record."""
    kind = record.kind
    if kind is Kind.DATA:
        if state.phase is Phase.OPEN and not state.lost and (record.writer is None or record.writer == state.writer):
            return state, record.events
        return _data(state, record)
    act = _TABLE.get(kind)
    return (state, _NONE) if act is None else act(state, record)


def fold(records: Iterable[Record], state: RunState = NEW) -> RunState:
    """The state after these records."""
    for record in records:
        state, _ = step(state, record)
    return state


def ends_run(record: Record, run: int, name: str | None = None) -> bool:
    """Whether this record, read while `run` is open, closes it."""
    state = RunState(Phase.OPEN, run=run, name=name, writer=record.writer)
    return step(state, record)[0].phase is Phase.CLOSED


def fences(record: Record, writer: str, run: int, name: str | None = None) -> bool:
    """Whether this record, read by the holder of `run`, takes the pen from it: another writer's start or takeover, a
    terminal of this run, or an erasure. Everything else the holder reads past and goes on."""
    if record.kind in (Kind.START, Kind.TAKEOVER):
        return record.writer != writer
    state = RunState(Phase.OPEN, run=run, name=name, writer=writer)
    return step(state, record)[0].phase is Phase.CLOSED


# ------------------------------------------------------------------------------------------------- the table


def _data(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    writer = record.writer
    if state.phase is Phase.OPEN:
        if writer is not None and writer != state.writer:
            return state, _NONE
        if writer is None:  # plain data says nothing about the holder's health
            return state, record.events
        return replace(state, lost=False), (_producer(state, "back"), *record.events)
    if state.phase is Phase.CLOSED:
        if writer is not None or state.closed_by is not Kind.END:
            return state, _NONE
        return _opened(state, record, record.sequence), record.events
    if writer is None:
        return _opened(state, record, record.sequence), record.events
    return _adopted(state, record), (_trimmed(record), *record.events)


def _start(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    out: list[Output] = []
    if state.phase is Phase.OPEN:
        out.append(Control(FAILED, {"run": state.run, "reason": "superseded"}))
    opened = _opened(state, record, record.sequence)
    told: dict[str, Any] = {"run": record.sequence}
    if record.run_name is not None:
        told["name"] = record.run_name
    out.append(Control(START, told))
    if record.run_name is not None and record.run_name in state.cancelled_names:
        left = tuple(n for n in state.cancelled_names if n != record.run_name)
        out.append(Control(CANCELLED, {"run": record.sequence}))
        return _closed(replace(opened, cancelled_names=left), record, Kind.CANCELLED), tuple(out)
    return opened, tuple(out)


def _takeover(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is not Phase.OPEN or record.writer is None or record.run not in (None, state.run):
        return state, _NONE
    lease = record.lease_seconds if record.lease_seconds is not None else state.lease_seconds
    out = (_producer(state, "back"),) if state.lost else _NONE
    return replace(state, writer=record.writer, lease_seconds=lease, lost=False), out


def _reset(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is not Phase.OPEN or (record.writer is not None and record.writer != state.writer):
        return state, _NONE
    back = (_producer(state, "back"),) if state.lost and record.writer is not None else _NONE
    lost = state.lost and record.writer is None
    return replace(state, lost=lost), (*back, Control(RESET, {"run": state.run}))


def _alive(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is Phase.NONE and record.writer is not None:
        return _adopted(state, record), (_trimmed(record),)
    if state.phase is Phase.OPEN and state.lost and record.writer is not None and record.writer == state.writer:
        return replace(state, lost=False), (_producer(state, "back"),)
    return state, _NONE


def _lost(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is Phase.OPEN and not state.lost and record.run == state.run:
        return replace(state, lost=True), (_producer(state, "lost"),)
    return state, _NONE


def _terminal(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is Phase.NONE:
        closed = _closed(replace(state, run=record.run or 0), record, record.kind)
        return closed, (_trimmed(record), _told(closed))
    if state.phase is not Phase.OPEN:
        return state, _NONE
    if record.writer is not None and record.writer != state.writer:
        return state, _NONE
    if record.run is not None and record.run != state.run:
        return state, _NONE
    closed = _closed(state, record, record.kind)
    return closed, (_told(closed),)


def _cancelled(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    name = record.run_name
    hit = record.run == state.run if name is None else name == state.name
    if state.phase is Phase.OPEN and hit:
        closed = _closed(state, record, Kind.CANCELLED)
        return closed, (_told(closed),)
    if name is None or name in state.cancelled_names or (state.phase is Phase.CLOSED and name == state.name):
        return state, _NONE
    names = (name, *state.cancelled_names)[:MAX_REMEMBERED_CANCELS]
    return replace(state, cancelled_names=names), _NONE


def _erased(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    closed = _closed(state, record, Kind.ERASED)
    return closed, (_NONE if state.phase is Phase.CLOSED else (_told(closed),))


_TABLE = {
    Kind.START: _start,
    Kind.TAKEOVER: _takeover,
    Kind.RESET: _reset,
    Kind.ALIVE: _alive,
    Kind.LOST: _lost,
    Kind.END: _terminal,
    Kind.FAILED: _terminal,
    Kind.CANCELLED: _cancelled,
    Kind.ERASED: _erased,
}


def _opened(state: RunState, record: Record, run: int) -> RunState:
    return RunState(
        Phase.OPEN,
        run=run,
        name=record.run_name,
        writer=record.writer,
        lease_seconds=record.lease_seconds,
        cancelled_names=state.cancelled_names,
    )


def _adopted(state: RunState, record: Record) -> RunState:
    """A run whose opening is trimmed: its holder's message says which run it is."""
    return _opened(state, record, record.run or record.sequence)


def _closed(state: RunState, record: Record, kind: Kind) -> RunState:
    return replace(
        state,
        phase=Phase.CLOSED,
        lost=False,
        closed_by=kind,
        closed_at=record.sequence,
        payload=record.payload,
    )


def _producer(state: RunState, what: str) -> Control:
    return Control(PRODUCER, {"run": state.run, "state": what}, counted=False)


def _trimmed(record: Record) -> Control:
    return Control(GAP, {"reason": "trimmed", "requested": None, "earliest": record.sequence}, counted=False)


def _told(state: RunState) -> Control:
    """The terminal event of a run just closed."""
    run, payload = state.run, state.payload
    if state.closed_by is Kind.END:
        return Control(END, {"run": run, "result": payload["result"]} if "result" in payload else {"run": run})
    if state.closed_by is Kind.CANCELLED:
        reason = payload.get("reason")
        return Control(CANCELLED, {"run": run, "reason": reason} if isinstance(reason, str) else {"run": run})
    if state.closed_by is Kind.ERASED:
        return Control(FAILED, {"run": run, "reason": "erased"})
    reason, message = payload.get("reason"), payload.get("message")
    told: dict[str, Any] = {"run": run, "reason": reason if isinstance(reason, str) else "failed"}
    if isinstance(message, str):
        told["message"] = message
    return Control(FAILED, told)
