"""One viewer's frames, read in order: what is wrong with them on their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.faults.checker.records import Frame, Place, Produced, Viewed

TERMINALS = frozenset({"session.end", "session.failed", "session.cancelled"})
CONTROLS = TERMINALS | {"session.start", "session.reset"}
HINTS = frozenset({"session.gap", "session.producer"})
_CURSOR = re.compile(r"(?P<inc>[A-Za-z0-9_]+)-(?P<seq>[0-9]+)(?:\.(?P<item>[0-9]+))?")

Report = Callable[[str, str], None]
Order = tuple[str, int, float]


def parse_cursor(text: str) -> Order | None:
    """Incarnation, sequence, item; no item means the whole message and stands after all of its items."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        return None
    item = match["item"]
    return match["inc"], int(match["seq"]), float("inf") if item is None else float(item)


@dataclass(frozen=True, slots=True)
class Terminal:
    """How a viewer saw a run end."""

    type: str
    reason: str
    id: str
    at: float


@dataclass(slots=True)
class Walk:
    """The state of reading one viewer's frames.

    Attributes:
        ids: Place to the id it came under.
        received_at: Place to its first receipt.
        terminals: Run to its terminal.
        starts: Run to the id of its ``session.start``.
        producer_states: When it was told which state of the producer.
        run: The number of the run that stands, from 1; 0 before the first.
        open: Whether that run has no terminal yet.
    """

    viewed: Viewed
    produced: Produced
    report: Report
    ids: dict[Place, str] = field(default_factory=dict)
    received_at: dict[Place, float] = field(default_factory=dict)
    terminals: dict[int, Terminal] = field(default_factory=dict)
    starts: dict[int, str] = field(default_factory=dict)
    producer_states: list[tuple[float, str]] = field(default_factory=list)
    run: int = 0
    open: bool = False
    _dispatched: set[str] = field(default_factory=set)
    _last_order: Order | None = None
    _last_place: Place = (0, 0, -1)

    def read(self) -> Walk:
        """Read all frames, report what is wrong with each once, and return the filled walk."""
        for frame in self.viewed.frames:
            if self._id_is_right(frame):
                self._frame(frame)
        return self

    def _id_is_right(self, frame: Frame) -> bool:
        if frame.type in HINTS:
            if frame.id is not None:
                self.report("invented", f"{frame.type} carries the id {frame.id}")
            return True
        order = None if frame.id is None else parse_cursor(frame.id)
        if frame.id is None or order is None:
            self.report("invented", f"{frame.type} under the id {frame.id!r}: {frame.data[:60]!r}")
            return False
        if frame.id in self._dispatched:
            self.report("doubled", f"{frame.type} {frame.id} a second time")
            return False
        self._dispatched.add(frame.id)
        last, self._last_order = self._last_order, order
        if last is not None and order[0] == last[0] and order < last:
            self.report("reordered", f"{frame.type} {frame.id} after {last}")
            self._last_order = last
        return True

    def _frame(self, frame: Frame) -> None:
        if frame.type == "session.start":
            if self.open:
                self.report("unended", f"run {self.run} has no end before the next start {frame.id}")
            self.run += 1
            self.open = True
            self.starts[self.run] = frame.id or ""
        elif frame.type in TERMINALS:
            self._terminal(frame)
        elif frame.type == "session.producer":
            self.producer_states.append((frame.at, _told(frame.data, "state")))
        elif frame.type == "session.gap":
            self.report("gap", f"a gap is told where nothing was trimmed: {frame.data[:120]}")
        elif frame.type.startswith("session."):
            if frame.type not in CONTROLS | HINTS:
                self.report("invented", f"unknown control event {frame.type}")
        else:
            self._data(frame)

    def _terminal(self, frame: Frame) -> None:
        if not self.open:
            self.report("after_end", f"{frame.type} {frame.id} where no run is open")
            return
        self.open = False
        self.terminals[self.run] = Terminal(frame.type, _told(frame.data, "reason"), frame.id or "", frame.at)

    def _data(self, frame: Frame) -> None:
        place = self.produced.sent.get(frame.data)
        if place is None:
            self.report("invented", f"{frame.id} {frame.data[:80]!r} was never written to this session")
            return
        if place in self.ids:
            self.report("doubled", f"{place} as {frame.id}, before as {self.ids[place]}")
            return
        self.ids[place] = frame.id or ""
        self.received_at[place] = frame.at
        if place < self._last_place:
            self.report("reordered", f"{place} {frame.id} after {self._last_place}")
        self._last_place = max(place, self._last_place)
        if place[0] > self.run:
            self.report("lost", f"session.start of run {place[0]}, its data came first ({frame.id})")
            self.run, self.open = place[0], True
        elif place[0] < self.run or not self.open:
            self.report("after_end", f"{place} {frame.id} after the end of run {place[0]}")


def _told(data: str, name: str) -> str:
    try:
        told = json.loads(data)
    except ValueError:
        return ""
    return str(told.get(name, "")) if isinstance(told, dict) else ""
