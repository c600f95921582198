"""The real session writer in a small world, over every interleaving: late, lost and repeated appends, others' messages.

The same question as the settling model asks (`tests/models/settling.py`), put to the code instead of the rule. A state
is the log, the network and all that the writer knows; states met before are not gone into again.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any, NamedTuple

from holdfast.answer import Answer, Verdict, unknown
from holdfast.wire import Draft, Event, Kind, Record, codec, decode, fences
from holdfast.writer import Look, Send, SessionWriter, Settings

ME = "me-1"
CHUNKS = 2
END = CHUNKS + 1
ATTEMPTS = 5


class World(NamedTuple):
    writer: SessionWriter
    log: tuple[Record, ...] = ()
    network: tuple[Send, ...] = ()
    out: Send | Look | None = None
    attempts: int = 0
    plain: int = 0
    cancels: int = 0
    arrived: int = 0
    now: float = 0.0

    @property
    def tail(self) -> int:
        return self.log[-1].sequence if self.log else 0

    def store(self, draft: Draft) -> World:
        record = decode(self.tail + 1, draft.headers, draft.body, previous=self.tail)
        return self._replace(log=(*self.log, record))

    def heard(self, answer: Answer) -> World:
        writer = twin(self.writer)
        writer.answered(answer, self.now)
        return self._replace(writer=writer, out=None)


def twin(writer: SessionWriter) -> SessionWriter:
    """A writer that knows the same, and goes its own way from here."""
    other = copy.copy(writer)
    other.buffer = copy.copy(writer.buffer)
    other.buffer.queue = copy.copy(writer.buffer.queue)
    other.history = copy.copy(writer.history)
    other._attempt = copy.copy(writer._attempt)
    return other


def key(world: World) -> Any:
    """All that makes a difference to what may happen next."""
    w = world.writer
    attempt = w._attempt
    sends = tuple((s.expected, s.draft.kind, s.draft.body, tuple(s.draft.headers.items())) for s in world.network)
    out = world.out if not isinstance(world.out, Send) else ("send", world.out.expected, world.out.draft.body)
    flight = attempt and (attempt.draft.kind, attempt.draft.body, attempt.uncertain)
    queued = tuple(event.data for event in w.buffer.queue)
    knows = (w.run, w.index, w.stored_events, w.expected, str(w.error), w.closed, flight, w._upto, w._busy, queued)
    log = tuple((r.kind, r.writer, r.events, r.run) for r in world.log)
    return knows, w._terminal, log, sends, out, world.attempts, world.plain, world.cancels, world.arrived


def after(world: World) -> list[World]:
    """Everything that may happen next."""
    found: list[World] = []
    w = world.writer
    if world.arrived < END and w.error is None and not w.closed:
        writer = twin(w)
        if world.arrived < CHUNKS:
            writer.write(Event(str(world.arrived).encode()))
        else:
            writer.end()
        found.append(world._replace(writer=writer, arrived=world.arrived + 1))
    if world.out is None and world.attempts < ATTEMPTS:
        writer = twin(world.writer)
        action = writer.next(world.now + 1.0)  # past every interval and backoff, before a renewal
        if isinstance(action, Send):
            sent = (*world.network, action)
            found.append(world._replace(writer=writer, out=action, network=sent, attempts=world.attempts + 1))
        elif isinstance(action, Look):
            found.append(world._replace(writer=writer, out=action))
    if isinstance(world.out, Look):
        behind = tuple(r for r in world.log if r.sequence > world.out.after)
        for visible in {len(behind), max(0, len(behind) - 1)}:  # a replica may lag
            writer = twin(world.writer)
            writer.looked(behind[:visible], False, world.now)
            found.append(world._replace(writer=writer, out=None))
    if isinstance(world.out, Send):
        found.append(world.heard(unknown("timed out")))
    for at, send in enumerate(world.network):
        left = world._replace(network=world.network[:at] + world.network[at + 1 :])
        waiting = send is world.out
        if send.expected == world.tail:
            stored = left.store(send.draft)
            found.append(stored)
            if waiting:
                found.append(stored.heard(Answer(Verdict.STORED, stored.tail)))
            else:  # its answer comes when another attempt is out, or none
                writer = twin(world.writer)
                writer.answered_late(send, Answer(Verdict.STORED, stored.tail), world.now)
                found.append(stored._replace(writer=writer))
        else:
            found.append(left)
            if waiting:
                found.append(left.heard(Answer(Verdict.REFUSED, world.tail)))
    if world.plain < 1 and world.writer.opened:
        found.append(world.store(codec.data([Event(b"plain")]))._replace(plain=1))
    if world.cancels < 1 and world.writer.opened:
        found.append(world.store(codec.cancelled(world.writer.run))._replace(cancels=1))
    return found


def broken(world: World) -> str:
    """The promise that is broken here, if any."""
    run, chunks, fenced = 0, 0, False
    for record in world.log:
        if record.writer == ME:
            if fenced:
                return "written behind a fence"
            if record.kind is Kind.START:
                if run:
                    return "two starts"
                run = record.sequence
            elif record.kind is Kind.DATA:
                if record.first_index != chunks:
                    return "doubled" if record.first_index < chunks else "lost"
                chunks += len(record.events)
        elif run and fences(record, ME, run):
            fenced = True
    if world.writer.stored_events > chunks:
        return "believed stored, and is not"
    return ""


def test_i6_the_writer_itself_over_every_interleaving() -> None:
    """From the first append on: no order of what the network and others do makes it lose, double, or write on behind
    a fence; and where it stops, it says why."""
    writer = SessionWriter("s", ME, Settings(interval_seconds=0.0, give_up_seconds=1e9, lease_seconds=None))
    first = World(writer)
    seen, queue = {key(first)}, deque([first])
    closed = stopped = 0
    while queue:
        world = queue.popleft()
        wrong = broken(world)
        assert not wrong, (wrong, world.log, world.network)
        closed += world.writer.closed
        stopped += world.writer.error is not None
        for following in after(world):
            mark = key(following)
            if mark not in seen:
                seen.add(mark)
                queue.append(following)
    assert len(seen) > 1000
    assert closed
    assert stopped
