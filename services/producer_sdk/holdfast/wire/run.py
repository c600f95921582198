"""The life of a session's runs, as one pure function from the log to a state and what viewers are told.

Every pod, writer and reader, today or tomorrow, folds the same records and gets the same story. The table is total:
each kind of record in each phase has one meaning. `open` carries the run (the sequence of its opening message), and
its holder (the writer whose messages count; None for a run that plain NATS messages opened).

| record             | none                      | open                                        | closed                         |
|--------------------|---------------------------|---------------------------------------------|--------------------------------|
| start              | open                      | failed{superseded}, then open               | open                           |
| ... of a cancelled name | open, then cancelled | failed{superseded}, open, then cancelled    | open, then cancelled           |
| takeover           | gap{trimmed}, open        | the holder changes                          | void                           |
| data, holder's     | gap{trimmed}, open, data  | data                                        | void, a broker fault           |
| data, other writer's | as holder's             | void, a broker fault                        | void, a broker fault           |
| data, plain        | open (inferred), data     | data; does not fence                        | after end: open (implicit), data; else void |
| reset              | gap{trimmed}, open, reset | the run's output is void                    | void                           |
| alive              | gap{trimmed}, open        | producer back, if it was lost               | void                           |
| lost               | gap{trimmed}, open (inferred), lost | producer lost, if its run is this one | void                         |
| end, failed        | gap{trimmed}, closed      | closed, if from the holder, a pod or plain  | void                           |
| cancelled, by run  | void                      | closed if the run is this one               | void                           |
| cancelled, by name | remembered                | closed if the name is this one's, else remembered | remembered               |
| erased             | closed, names forgotten   | closed, names forgotten                     | closed, names forgotten, nothing told |
| unknown, marker    | void                      | void                                        | void                           |

A writer's record is the holder's if its writer is the holder and the run it names, if it names one, is the open one.

Why `none` meets a holder's records at all: the log is trimmed from the front, so a run's opening may be gone. The
writer's messages name their run (`Holdfast-Run`), so that a cancel still finds it. A run that plain data seemed to open
at the very front is only inferred: the first record that names an older run shows that this one was open all the time
(gap{trimmed}, and its writer is the holder). A `cancelled` shows nothing: it is stored unconditionally, so its run may
have ended long before. Nor does a terminal that names no run say what it closed, so plain data may follow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from holdfast.wire import control
from holdfast.wire.control import CANCELLED, END, FAILED, GAP, PRODUCER, RESET, SNAPSHOT, START, Control
from holdfast.wire.event import Event
from holdfast.wire.limits import MAX_REMEMBERED_CANCELS
from holdfast.wire.record import NOTHING, Kind, Record

__all__ = [
    "CANCELLED",
    "END",
    "FAILED",
    "GAP",
    "NEW",
    "PRODUCER",
    "RESET",
    "SNAPSHOT",
    "START",
    "Control",
    "Output",
    "Phase",
    "RunState",
    "ends_run",
    "fences",
    "fold",
    "step",
]


class Phase(StrEnum):
    """Where a session is: no run yet, one open, or the last one closed."""

    NONE = "none"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a session stands after a prefix of its log. `run` is 0 while there was none.

    `inferred`: what came before the first record we know is guessed. Open: the run's opening and its holder may be
    trimmed. Closed: it may have ended before, and well, so plain data opens the next run.
    """

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
    inferred: bool = False

    @property
    def status(self) -> str:
        """One word for people and APIs: none, open, lost, ended, failed, cancelled, erased."""
        if self.phase is Phase.OPEN:
            return "lost" if self.lost else "open"
        if self.closed_by is Kind.END:
            return "ended"
        return self.closed_by.value if self.closed_by is not None else "none"


NEW: Final = RunState()


Output = Event | Control
_NONE: Final[tuple[Output, ...]] = ()


def step(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    """Fold one record. What comes out is told in this order; an empty tuple is a void record."""
    kind = record.kind
    if kind is Kind.DATA and state.phase is Phase.OPEN and not state.lost:  # nearly all records
        writer = record.writer
        if writer is None or (writer == state.writer and (record.run is None or record.run == state.run)):
            return state, record.events
    act = _TABLE.get(kind)
    if act is None:
        return state, _NONE
    learned, gap = _learn(state, record)
    state, told = act(learned, record)
    return state, (*gap, *told)


def fold(records: Iterable[Record], state: RunState = NEW) -> RunState:
    """The state after these records."""
    for record in records:
        state, _ = step(state, record)
    return state


def ends_run(record: Record, run: int, name: str | None = None) -> bool:
    """Whether this record, read while `run` is open, closes it: a terminal, or another run's start."""
    state, _ = step(RunState(Phase.OPEN, run=run, name=name, writer=record.writer), record)
    return state.phase is Phase.CLOSED or state.run != run


def fences(record: Record, writer: str, run: int, name: str | None = None) -> bool:
    """Whether this record, read by the holder of `run`, takes the pen from it: another start, another writer's
    takeover, a terminal of this run, or an erasure. Everything else the holder reads past and goes on.

    `run` is 0 while the writer does not know where its own start was stored.
    """
    if record.kind is Kind.START:
        return record.writer != writer or run not in (0, record.sequence)
    state, _ = step(RunState(Phase.OPEN, run=run, name=name, writer=writer), record)
    return state.phase is Phase.CLOSED or state.writer != writer


# ------------------------------------------------------------------------------------------------- the table


_OWN: Final = frozenset({Kind.DATA, Kind.ALIVE, Kind.RESET, Kind.TAKEOVER, Kind.LOST, Kind.END, Kind.FAILED})
"""Kinds that are stored only while the run they name is open: each is appended by expected sequence."""


def _learn(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    """What a record says about a run whose opening is trimmed: the state it was written in, and the gap to tell."""
    if record.kind not in _OWN or state.phase is Phase.CLOSED or (state.phase is Phase.OPEN and not state.inferred):
        return state, _NONE
    run = record.run or 0
    if not 0 < run < record.sequence:
        if state.phase is not Phase.NONE or record.writer is None or record.kind not in (Kind.DATA, Kind.ALIVE):
            return state, _NONE
        run = record.sequence
    if state.phase is Phase.NONE or run < state.run:
        gap: tuple[Output, ...] = (control.trimmed(record.sequence),)
    elif run == state.run and record.writer is not None:
        gap = _NONE
    else:
        return state, _NONE
    return (
        replace(
            state,
            phase=Phase.OPEN,
            run=run,
            writer=record.writer,
            lease_seconds=record.lease_seconds,
            inferred=record.writer is None,
        ),
        gap,
    )


def _holds(state: RunState, record: Record) -> bool:
    """Whether a record that names a writer comes from the holder of the open run."""
    return record.writer == state.writer and record.run in (None, state.run)


def _data(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    plain = record.writer is None
    if state.phase is Phase.OPEN:
        if not plain and not _holds(state, record):
            return state, _NONE
        if state.lost and record.writer == state.writer:  # plain data says nothing about another holder's health
            return replace(state, lost=False), (control.back(state.run), *record.events)
        return state, record.events
    if not plain or (state.phase is Phase.CLOSED and state.closed_by is not Kind.END and not state.inferred):
        return state, _NONE
    return replace(_opened(state, record), inferred=state.phase is Phase.NONE), record.events


def _start(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    out: list[Output] = []
    if state.phase is Phase.OPEN:
        out.append(control.superseded(state.run))
    opened = _opened(state, record)
    out.append(control.started(record.sequence, record.run_name))
    if record.run_name is not None and record.run_name in state.cancelled_names:
        left = tuple(n for n in state.cancelled_names if n != record.run_name)
        out.append(control.terminal(Kind.CANCELLED, record.sequence, NOTHING))
        closed = _closed(replace(opened, cancelled_names=left), record, Kind.CANCELLED)
        return replace(closed, payload=NOTHING), tuple(out)
    return opened, tuple(out)


def _takeover(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is not Phase.OPEN or record.writer is None or record.run not in (None, state.run):
        return state, _NONE
    lease = record.lease_seconds if record.lease_seconds is not None else state.lease_seconds
    out = (control.back(state.run),) if state.lost else _NONE
    return replace(state, writer=record.writer, lease_seconds=lease, lost=False), out


def _reset(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is not Phase.OPEN or not (record.writer is None or _holds(state, record)):
        return state, _NONE
    back = state.lost and record.writer is not None
    told = control.reset(state.run)
    return (replace(state, lost=False), (control.back(state.run), told)) if back else (state, (told,))


def _alive(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is not Phase.OPEN or record.writer is None or not _holds(state, record):
        return state, _NONE
    lease = record.lease_seconds if record.lease_seconds is not None else state.lease_seconds
    if not state.lost and lease == state.lease_seconds:
        return state, _NONE
    out = (control.back(state.run),) if state.lost else _NONE
    return replace(state, lease_seconds=lease, lost=False), out


def _lost(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is Phase.OPEN and not state.lost and record.run == state.run:
        return replace(state, lost=True), (control.lost(state.run),)
    return state, _NONE


def _terminal(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    if state.phase is Phase.NONE:  # it names no run: whichever there was is over, by this or by what is trimmed
        closed = replace(_closed(state, record, record.kind), inferred=True)
        return closed, (
            control.trimmed(record.sequence),
            control.terminal(closed.closed_by, closed.run, closed.payload),
        )
    ours = record.run in (None, state.run) if record.writer is None else _holds(state, record)
    if state.phase is not Phase.OPEN or not ours:
        return state, _NONE
    closed = _closed(state, record, record.kind)
    return closed, (control.terminal(closed.closed_by, closed.run, closed.payload),)


def _cancelled(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    name = record.run_name
    hit = record.run == state.run if name is None else name == state.name
    if state.phase is Phase.OPEN and hit:
        closed = _closed(state, record, Kind.CANCELLED)
        return closed, (control.terminal(closed.closed_by, closed.run, closed.payload),)
    if name is None or name in state.cancelled_names or (state.phase is Phase.CLOSED and name == state.name):
        return state, _NONE
    names = (name, *state.cancelled_names)[:MAX_REMEMBERED_CANCELS]
    return replace(state, cancelled_names=names), _NONE


def _erased(state: RunState, record: Record) -> tuple[RunState, tuple[Output, ...]]:
    # What was cancelled before it started goes too: the purge that follows takes those records from later readers.
    closed = replace(_closed(state, record, Kind.ERASED), cancelled_names=())
    return closed, (
        _NONE if state.phase is Phase.CLOSED else (control.terminal(closed.closed_by, closed.run, closed.payload),)
    )


_TABLE = {
    Kind.DATA: _data,
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


def _opened(state: RunState, record: Record) -> RunState:
    return RunState(
        Phase.OPEN,
        run=record.sequence,
        name=record.run_name,
        writer=record.writer,
        lease_seconds=record.lease_seconds,
        cancelled_names=state.cancelled_names,
    )


def _closed(state: RunState, record: Record, kind: Kind) -> RunState:
    return replace(
        state,
        phase=Phase.CLOSED,
        lost=False,
        closed_by=kind,
        closed_at=record.sequence,
        payload=record.payload,
        inferred=False,
    )
