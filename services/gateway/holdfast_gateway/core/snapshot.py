"""The open or last run in one piece: for a viewer who comes late and wants the answer, not its retyping.

Built when somebody asks for the first time, kept up with the log from then on, bounded in bytes. Adjacent events of one
type are one part. A `reset` drops what was said; a new run begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.wire import Cursor, Event, Kind, Phase, Record, RunState
from holdfast.wire.run import RESET, Output

PART_OVERHEAD_BYTES = 64


class SnapshotBuilder:
    """Folds a run's records. `upto` is the sequence of the last message in the snapshot, 0 before there is a run."""

    __slots__ = ("_limit_bytes", "_parts", "incomplete", "run", "size_bytes", "too_large", "upto")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._parts: list[tuple[str, list[str]]] = []
        self.run = 0
        self.upto = 0
        self.size_bytes = 0
        self.too_large = False
        self.incomplete = False

    def take(self, record: Record, outputs: Sequence[Output], state: RunState) -> None:
        """The next record, what it told, and the state behind it."""
        if state.closed_by is Kind.ERASED:
            self._drop()
            self.run = 0
            return
        if not outputs:
            return
        if state.run != self.run:
            self._drop()
            self.run = state.run
            self.upto = record.sequence
            self.incomplete = state.run != record.sequence
        if state.phase is Phase.CLOSED:
            return  # the terminal is told as itself, behind the snapshot
        for output in outputs:
            if isinstance(output, Event):
                self._add(output)
                self.upto = record.sequence
            elif output.event == RESET:
                self._drop()
                self.upto = record.sequence

    def gap(self) -> None:
        """Records are missing from here on."""
        self.incomplete = True

    def _drop(self) -> None:
        self._parts.clear()
        self.size_bytes = 0
        self.too_large = False

    def _add(self, event: Event) -> None:
        if self.too_large:
            return
        parts = self._parts
        if not parts or parts[-1][0] != event.type:
            parts.append((event.type, []))
            self.size_bytes += PART_OVERHEAD_BYTES
        parts[-1][1].append(event.text)
        self.size_bytes += len(event.data)
        if self.size_bytes > self._limit_bytes:
            self.too_large = True
            parts.clear()

    def usable(self, state: RunState) -> bool:
        """Whether there is a run to show, within the bound, with its end still to be told behind it."""
        return self.run > 0 and self.run == state.run and not self.too_large and self.upto != state.closed_at

    def body(self, incarnation: str) -> dict[str, Any]:
        """{from, to, parts}, and `incomplete` if the run's beginning is gone. Joins what came since it was last
        asked.
        """
        told: dict[str, Any] = {
            "from": str(Cursor(incarnation, self.run)),
            "to": str(Cursor(incarnation, self.upto)),
            "parts": [],
        }
        for name, texts in self._parts:
            if len(texts) > 1:
                texts[:] = ["".join(texts)]
            told["parts"].append({"event": name, "data": texts[0]})
        if self.incomplete:
            told["incomplete"] = True
        return told
