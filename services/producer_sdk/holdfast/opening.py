"""What a writer learns from the log before it opens: the state, and for a takeover what the run has said."""

from __future__ import annotations

from holdfast.wire import NEW, Control, Event, Record, RunState, step
from holdfast.wire.run import RESET


class History:
    """The fold of the records given to it. Memory: the open run's events, if they are kept."""

    __slots__ = ("before", "events", "keep_events", "last", "next_index", "state")

    def __init__(self, *, keep_events: bool) -> None:
        self.state: RunState = NEW
        self.keep_events = keep_events
        self.events: list[Event] = []
        self.next_index = 0
        self.before = 0
        self.last = 0

    def add(self, record: Record) -> None:
        run = self.state.run
        self.state, told = step(self.state, record)
        if self.state.run != run:
            self.events.clear()
            self.next_index, self.before = 0, self.last
        if record.writer is not None and record.events and told:
            self.next_index = record.first_index + len(record.events)
        for output in told:
            if isinstance(output, Control):
                if output.event == RESET:
                    self.events.clear()
            elif self.keep_events:
                self.events.append(output)
        self.last = record.sequence
