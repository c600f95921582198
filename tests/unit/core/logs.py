"""Logs for tests: drafts in, records out, with sequences and back pointers as a broker gives them."""

from __future__ import annotations

from holdfast.wire import Event, Record, codec, decode
from holdfast_gateway.core.log import RingBudget
from holdfast_gateway.core.session import SessionCore
from holdfast_gateway.runtime.counters import Counters


class Script:
    """Appends with every second sequence, as if another session took the rest."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.last = 0
        self.run = 0
        self.index = 0

    def add(self, draft: codec.Draft, *, seconds: float = 0.0) -> Record:
        previous, self.last = self.last, self.last + 2
        record = decode(self.last, draft.headers, draft.body, previous=previous, time_seconds=seconds)
        self.records.append(record)
        return record

    def start(self, name: str | None = None) -> Record:
        record = self.add(codec.start("w", lease_seconds=30, name=name))
        self.run, self.index = record.sequence, 0
        return record

    def say(self, *texts: str, type: str = "message") -> Record:
        events = [Event(text.encode(), type) for text in texts]
        record = self.add(codec.data(events, writer="w", run=self.run, index=self.index))
        self.index += len(texts)
        return record

    def end(self) -> Record:
        return self.add(codec.end("w", self.run))


def core(*records: Record, ring_bytes: int = 1 << 30) -> SessionCore:
    made = SessionCore("m1", ring_bytes, RingBudget(1 << 30), Counters())
    for record in records:
        made.apply(record)
    made.caught_up = True
    return made
