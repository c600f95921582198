"""Which run state held at any place of a session's log: kept as changes, since most records change nothing."""

from __future__ import annotations

from bisect import bisect_left

from holdfast.wire.run import NEW, RunState

MAX_CHANGES = 4096
"""Some 2,000 runs. An older place is found by folding from the log's beginning."""


class StateHistory:
    """Grows with every change of state, loses its oldest half at the bound."""

    __slots__ = ("_forgotten", "_sequences", "_states", "max_changes")

    def __init__(self, max_changes: int = MAX_CHANGES) -> None:
        self.max_changes = max_changes
        self._sequences: list[int] = []
        self._states: list[RunState] = []
        self._forgotten = False

    def note(self, sequence: int, state: RunState) -> None:
        """From behind this sequence on, this state holds."""
        if len(self._states) >= self.max_changes:
            half = len(self._states) // 2
            del self._sequences[:half], self._states[:half]
            self._forgotten = True
        self._sequences.append(sequence)
        self._states.append(state)

    def before(self, sequence: int) -> RunState | None:
        """The state in which the record at this sequence is read; None if that is forgotten."""
        at = bisect_left(self._sequences, sequence) - 1
        if at >= 0:
            return self._states[at]
        return None if self._forgotten else NEW

    def knows_run(self, run: int | str) -> bool:
        """Whether a run with this opening sequence or name is remembered."""
        if isinstance(run, int):
            return any(s.run == run for s in self._states)
        return any(s.name == run for s in self._states)
