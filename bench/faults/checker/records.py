"""What the judge reads: the producers' journals and the viewers' journals, as values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Record = Mapping[str, object]
# Where an event stands: the session's n-th run, the n-th writer of that run, the writer's dense index.
Place = tuple[int, int, int]


@dataclass(slots=True)
class Produced:
    """What one session's producers did.

    Attributes:
        session: The session.
        sent: Payload to place, for everything handed to the SDK, whether told as stored or not.
        sent_at: When, in monotonic seconds.
        acked_at: Place to the time at which the producer knew it stored.
        ended: Run to the terminal event that the producer knows stored.
        refused: Run to the name of the error that ended its writer.
    """

    session: str
    sent: dict[str, Place] = field(default_factory=dict)
    sent_at: dict[Place, float] = field(default_factory=dict)
    acked_at: dict[Place, float] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the fault demands that viewers see of a run, not later than a time. Written by the harness.

    A terminal with its reason, or ``session.producer`` with its state as the reason.
    """

    session: str
    run: int
    type: str
    reason: str
    after: float
    within_seconds: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One dispatched event as a viewer saw it; ``id`` is ``None`` when the frame carried none of its own."""

    at: float
    type: str
    id: str | None
    data: str


@dataclass(slots=True)
class Viewed:
    """One viewer's record, over all its connections; ``since`` is its first attach, infinite before that."""

    name: str
    session: str
    role: str
    since: float = math.inf
    frames: list[Frame] = field(default_factory=list)
    finished: str = ""
    connections: int = 0


@dataclass(slots=True)
class Evidence:
    """Everything of one run of the harness.

    Attributes:
        produced: By session.
        viewed: By viewer.
        expected: Terminals that the fault demands.
        untimed: Sessions whose producer was itself stopped or killed.
        fenced: Runs whose writer woke up after somebody else had closed them, and must have been told so.
    """

    produced: dict[str, Produced] = field(default_factory=dict)
    viewed: dict[str, Viewed] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)
    untimed: set[str] = field(default_factory=set)
    fenced: set[tuple[str, int]] = field(default_factory=set)


def load(directory: Path) -> Evidence:
    """Read ``producer-*.jsonl``, ``viewer-*.jsonl`` and ``expected*.jsonl`` of a directory.

    A last line that a SIGKILL cut short is dropped; a broken line elsewhere is an error of the harness.
    """
    evidence = Evidence()
    for path in sorted(directory.glob("producer-*.jsonl")):
        read_producer(evidence, _lines(path))
    for path in sorted(directory.glob("viewer-*.jsonl")):
        read_viewers(evidence, _lines(path))
    for path in sorted(directory.glob("expected*.jsonl")):
        for record in _lines(path):
            if record["kind"] == "untimed":
                evidence.untimed.add(str(record["session"]))
                continue
            if record["kind"] == "fenced":
                evidence.fenced.add((str(record["session"]), _int(record["run"])))
                continue
            names = ("session", "run", "type", "reason", "after", "within_seconds")
            evidence.expected.append(Expected(**{name: record[name] for name in names}))  # type: ignore[arg-type]
    return evidence


def _lines(path: Path) -> list[Record]:
    lines = path.read_text(encoding="ascii").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def read_producer(evidence: Evidence, records: Iterable[Record]) -> None:
    """Add one producer process's records."""
    for record in records:
        if "session" not in record:
            continue
        session = str(record["session"])
        produced = evidence.produced.setdefault(session, Produced(session))
        run, part, at = _int(record["run"]), _int(record["part"]), _float(record["at"])
        if record["kind"] == "sent":
            place = (run, part, _int(record["index"]))
            payload = str(record["payload"])
            if payload in produced.sent:
                raise ValueError(f"payload sent twice, the judge could not tell them apart: {payload!r}")
            produced.sent[payload] = place
            produced.sent_at[place] = at
        elif record["kind"] == "acked":
            for index in range(_int(record["first"]), _int(record["last"]) + 1):
                produced.acked_at[run, part, index] = at
        elif record["kind"] == "ended":
            produced.ended[run] = str(record["type"])
        elif record["kind"] == "refused":
            produced.refused[run] = str(record["error"])


def read_viewers(evidence: Evidence, records: Iterable[Record]) -> None:
    """Add one viewer process's records."""
    for record in records:
        if "viewer" not in record:
            continue
        name, at = str(record["viewer"]), _float(record["at"])
        if record["kind"] == "viewer":
            evidence.viewed[name] = Viewed(name, str(record["session"]), str(record["role"]))
            continue
        viewed = evidence.viewed[name]
        if record["kind"] == "frame":
            own_id = record["id"]
            viewed.frames.append(
                Frame(at, str(record["type"]), None if own_id is None else str(own_id), str(record["data"]))
            )
        elif record["kind"] in ("finished", "gave up"):
            viewed.finished = str(record["why"]) if record["kind"] == "finished" else ""
        elif record["kind"] == "opened":
            viewed.connections += 1
            viewed.since = min(viewed.since, at)


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"not an integer: {value!r}")
    return value


def _float(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    return float(value)
