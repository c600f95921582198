"""The session writer: who may append what to a session's subject, as a state machine without I/O.

Rules, each with its reason (docs/protocol.md has the runs and models they come from):

* One append in flight, each with the sequence it expects to follow. That alone orders, fences and de-duplicates.
* An unanswered append is unknown, not failed: it may land seconds later. The same bytes go again, with backoff. They
  land once at most, since either copy moves the subject past what both expect.
* A refusal names the subject's real last sequence A. Between the expected E and A lies everything that happened, so
  (E, A] is read, all of it. Looking only at the last message loses data when a plain message or a cancel
  follows our own late commit.
* In (E, A] a message of ours can only be the one in flight (older ones were settled before it was sent).
* Plain data and `lost` do not fence: rebase and go on. A start or takeover by another, a terminal, an erasure do:
  stop there, write nothing more.
* A = 0 with E > 0: the log is gone. Never continue at 0: an erased session would rise again. A < E: the broker was
  rolled back. Both only when they are still the answer after 15 s: a leader that was cut off from its quorum says the
  same, from its own old log, for up to about ten.
* A replica may be behind what the leader said. The walk is over only when it has seen A; when replicas do not catch
  up, the same bytes are sent again, which yields a fresh A.
* After L/3 without a commit a small `alive` is appended: it renews the lease, and is the writer's own look at the log.
* An attempt that stays unknown too long ends the run here (`Uncertain`): the expected sequence protects only as long
  as the messages it names exist.

A transition is complete when its method returns; `next` then says the one piece of I/O to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from holdfast.actions import Action, Attempt, Look, Send, Settings, Sleep
from holdfast.answer import Answer, Verdict
from holdfast.coalescer import Coalescer
from holdfast.errors import (
    BrokerRewound,
    EventTooLarge,
    HoldfastError,
    NotResumable,
    SessionCancelled,
    SessionClosed,
    SessionExpired,
    SessionFenced,
    SessionOpen,
    StreamReplaced,
    Uncertain,
)
from holdfast.opening import History
from holdfast.wire import Event, Kind, Phase, Record, codec, fences
from holdfast.wire.limits import MAX_EVENT_BYTES

FIRST_BACKOFF_SECONDS: Final = 0.002
LAST_BACKOFF_SECONDS: Final = 0.5
STALE_LOOKS: Final = 8
BELIEVE_SECONDS: Final = 15.0
"""How long "the log went back" has to be the answer before it is believed (ADR-0004)."""


class SessionWriter:
    """One writer of one run. `error` is set once, and then nothing is ever sent again."""

    def __init__(self, session: str, writer: str, settings: Settings) -> None:
        self.session = session
        self.writer = writer
        self.settings = settings
        self.buffer = Coalescer(settings.interval_seconds, settings.buffer_bytes, settings.buffer_events)
        self.history = History(keep_events=settings.mode == "takeover")
        self.run = 0
        self.before = 0
        self.index = 0
        self.stored_events = 0
        self.expected = 0
        self.error: HoldfastError | None = None
        self.closed = False
        self._attempt: Attempt | None = None
        self._busy = False
        self._upto: int | None = None  # the walk's goal; -1: as far as there is
        self._stale = 0
        self._look_at = 0.0
        self._behind_since: float | None = None
        self.name = settings.name  # of the run that is written
        self._committed_at = 0.0
        self._poked = False
        self._reset = False
        self._terminal: tuple[Kind, Any, str] | None = None
        self._opposed: tuple[int, str | None] | None = None  # takeover: who held which run when we first looked

    # ------------------------------------------------------------------------------------------ what the caller does

    @property
    def opened(self) -> bool:
        return self.run > 0

    @property
    def busy(self) -> bool:
        """Whether an answer is out."""
        return self._busy

    @property
    def closing(self) -> bool:
        """Whether the run is closed, or will be after what is queued."""
        return self.closed or self._terminal is not None

    @property
    def why(self) -> str:
        """What the broker said last to an append that is not settled."""
        return self._attempt.why if self._attempt is not None else ""

    def give_up(self, now: float) -> None:
        """Send nothing more."""
        if self.error is None and not self.closed:
            self.error = self._uncertain(now)

    def _uncertain(self, now: float) -> Uncertain:
        a = self._attempt
        waited, pending, why = (now - a.first_at, len(a.events), a.why) if a is not None else (0.0, 0, "given up")
        return Uncertain(self.session, self.stored_events, pending, waited, why)

    @property
    def idle(self) -> bool:
        """Everything written so far is stored."""
        return not self.buffer.events and not self._reset and self._terminal is None

    def write(self, event: Event) -> None:
        """Queue an event. Raises `BufferFull`, `SessionClosed`, or what ended the run."""
        if self.error is not None or self._terminal is not None or self.closed:
            self.check()
        self.buffer.add(event)

    def check(self) -> None:
        """Raise what ended the run, if anything did."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.closed or self._terminal is not None:
            raise SessionClosed(self.session)

    def reset(self) -> None:
        """Void the run's output. What is still queued is void already and is never sent."""
        self.check()
        self.buffer.clear()
        self._reset = True

    def end(self, result: object = None) -> None:
        """Close the run well, after what is queued. Raises `EventTooLarge` or `TypeError` for an unusable result."""
        codec.end(self.writer, self.run, result=result)
        self.check()
        self._terminal = (Kind.END, result, "")
        self.buffer.urgent = True

    def fail(self, reason: str, message: str = "") -> None:
        """Close the run as failed, after what is queued. Raises `EventTooLarge`."""
        codec.failed(self.writer, self.run, reason, message)
        self.check()
        self._terminal = (Kind.FAILED, reason, message)
        self.buffer.urgent = True

    def flush(self) -> None:
        """Send what is queued without waiting for the interval."""
        if self.buffer.queue:
            self.buffer.urgent = True

    def poke(self) -> None:
        """A hint that something happened to the session: ask the log, by an append that would be refused."""
        self._poked = True

    def hurry(self, now: float) -> None:
        """The connection is back: do not sit out a backoff."""
        if self._attempt is not None and not self._busy:
            self._attempt.retry_at = min(self._attempt.retry_at, now)
        self._look_at = min(self._look_at, now)

    # ---------------------------------------------------------------------------------------------- what to do next

    def next(self, now: float) -> Action | None:
        """The one thing to do, or None while an answer is out or all is over."""
        if self._busy or self.closed or self.error is not None:
            return None
        if self._attempt is not None and now - self._attempt.first_at > self.settings.give_up_seconds:
            self.error = self._uncertain(now)
            return None
        if self._upto is None and not self.opened and self._attempt is None and self.settings.mode == "takeover":
            if self._opposed is None:
                self._upto = -1
            else:
                lease = self.settings.lease_seconds
                self._attempt = Attempt(codec.takeover(self.writer, self.history.state.run, lease_seconds=lease), now)
        if self._upto is not None:
            if self._look_at > now:
                return Sleep(self._look_at)
            self._busy = True
            return Look(self.expected)
        attempt = self._attempt
        if attempt is None:
            made = self._make(now)
            if not isinstance(made, Attempt):
                return made
            attempt = self._attempt = made
        if attempt.retry_at > now:
            return Sleep(attempt.retry_at)
        self._busy = True
        attempt.tries += 1
        return Send(attempt.draft, self.expected)

    def _make(self, now: float) -> Attempt | Sleep | None:
        """The next thing to append, if anything is due."""
        poked, self._poked = self._poked, False  # whatever is made from here on looks at the log after the hint
        if not self.opened:
            s = self.settings
            return Attempt(codec.start(self.writer, lease_seconds=s.lease_seconds, name=s.name), now)
        if self._reset:
            return Attempt(codec.reset(self.writer, self.run, index=self.index), now)
        if self.buffer.queue:
            due = self.buffer.due_at(now)
            if due > now:
                self._poked = poked
                return Sleep(due)
            events = self.buffer.take(now)
            return Attempt(codec.data(events, writer=self.writer, run=self.run, index=self.index), now, events)
        if self._terminal is not None:
            kind, value, message = self._terminal
            if kind is Kind.END:
                return Attempt(codec.end(self.writer, self.run, index=self.index, result=value), now)
            return Attempt(codec.failed(self.writer, self.run, value, message, index=self.index), now)
        lease = self.settings.lease_seconds
        renew_at = None if lease is None else self._committed_at + lease / 3
        if poked or (renew_at is not None and renew_at <= now):
            return Attempt(codec.alive(self.writer, self.run, lease_seconds=lease), now)
        return None if renew_at is None else Sleep(renew_at)

    # ------------------------------------------------------------------------------------------------ what came back

    def answered(self, answer: Answer, now: float) -> None:
        """The answer to the last `Send`."""
        self._busy = False
        attempt = self._attempt
        if attempt is None or self.error is not None:
            return
        verdict = answer.verdict
        if verdict is not Verdict.REFUSED or answer.sequence >= self.expected:
            self._behind_since = None
        if verdict is Verdict.STORED:
            self._stored(answer.sequence, now)
        elif verdict is Verdict.REFUSED:
            self._refused(attempt, answer, now)
        elif verdict is Verdict.GONE:
            self.error = StreamReplaced(self.session, answer.why)
        elif verdict is Verdict.TOO_LARGE:
            self.error = EventTooLarge(len(attempt.draft.body), MAX_EVENT_BYTES)
        else:
            self._again(attempt, answer.why, now)

    def answered_late(self, sent: Send, answer: Answer, now: float) -> None:
        """The answer to an earlier `Send` that had been given up as unknown. Only "stored" is still news: it settles
        the attempt, and the answer to its repetition, which is out, means nothing any more."""
        attempt = self._attempt
        if answer.verdict is not Verdict.STORED or attempt is None or attempt.draft is not sent.draft:
            return
        if self.error is None:
            self._upto = None
            self.expected = sent.expected
            self._stored(answer.sequence, now)

    def _again(self, attempt: Attempt, why: str, now: float) -> None:
        attempt.uncertain = True
        attempt.why = why
        attempt.retry_at = now + min(FIRST_BACKOFF_SECONDS * 2 ** min(attempt.tries - 1, 12), LAST_BACKOFF_SECONDS)

    def _refused(self, attempt: Attempt, answer: Answer, now: float) -> None:
        actual, expected = answer.sequence, self.expected
        if actual == expected:  # says both: not stored, and nothing in the way
            self._again(attempt, answer.why, now)
        elif actual == 0 and not self.opened and self.settings.mode == "start":
            self.expected, self.history = 0, History(keep_events=False)  # a subject that has just become empty
        elif actual < expected:
            self._behind(attempt, answer, now)
        elif self.opened or attempt.uncertain or self._must_know():
            self._upto, self._stale, self._look_at = actual, 0, now
        else:  # a start that was refused for certain, and does not care by whom
            self.expected = actual

    def _behind(self, attempt: Attempt, answer: Answer, now: float) -> None:
        """The log is said to end before what it had: gone or rolled back, or a deposed leader said so."""
        if self._behind_since is None:
            self._behind_since = now
        if now - self._behind_since < BELIEVE_SECONDS:
            self._again(attempt, answer.why, now)
        elif answer.sequence == 0:
            self.error = SessionExpired(self.session)
        else:
            self.error = BrokerRewound(self.session, self.expected, answer.sequence)

    def _must_know(self) -> bool:
        """Whether opening needs the story so far, not only where it ends."""
        s = self.settings
        return s.mode == "takeover" or s.if_open == "raise" or s.name is not None

    def look_failed(self, now: float) -> None:
        """The page could not be read."""
        self._busy = False
        self._later(now)

    def looked(self, records: Sequence[Record], more: bool, now: float) -> None:
        """A page behind `expected`, in order; `more` says that the replica has further ones."""
        self._busy = False
        if self._upto is None or self.error is not None:
            return
        for record in records:
            if record.sequence > self.expected:
                self._take(record, now)
                if self.error is not None or self.closed:
                    self._upto = None
                    return
        if more:
            return
        if self._upto == -1 or self.expected >= self._upto or (self.opened and self._attempt is None):
            self._upto = None
            self._decide(now)
        else:
            self._later(now)

    def _later(self, now: float) -> None:
        """A replica that is behind, or none: look again soon; after a while let the leader speak."""
        self._stale += 1
        if self._stale > STALE_LOOKS and self._attempt is not None:
            self._upto = None
            self._again(self._attempt, "replicas are behind", now)
            return
        self._look_at = now + min(FIRST_BACKOFF_SECONDS * 2 ** min(self._stale, 12), LAST_BACKOFF_SECONDS)

    def _decide(self, now: float) -> None:
        """The walk is over. What is still unsettled is not stored: it follows what was found."""
        attempt = self._attempt
        if attempt is not None:
            attempt.uncertain, attempt.tries, attempt.retry_at, attempt.first_at = False, 0, now, now
        if self.opened:
            return
        state = self.history.state
        if self.settings.mode == "takeover":
            if state.phase is not Phase.OPEN:
                self.error = NotResumable(self.session, state.status)
            elif self._opposed is None:
                self._opposed = (state.run, state.writer)
            elif self._opposed != (state.run, state.writer):
                self.error = SessionFenced(self.session, "taken_over", self.expected, 0, state.writer)
        elif self.settings.if_open == "raise" and state.phase is Phase.OPEN:
            self.error = SessionOpen(self.session, state.run, state.writer)

    def _take(self, record: Record, now: float) -> None:
        attempt = self._attempt
        mine = record.writer is not None and record.writer == self.writer
        if record.marker:
            self.error = SessionExpired(self.session)
        elif mine and attempt is not None and record.kind is attempt.draft.kind:
            self._stored(record.sequence, now)
        elif self.opened and fences(record, self.writer, self.run, self.name):
            self._fenced(record)
        else:
            if not self.opened and self._must_know():
                self.history.add(record)
            self.expected = record.sequence

    def _stored(self, sequence: int, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None
        self._attempt = None
        before, self.expected = self.expected, sequence
        self._committed_at = now
        kind = attempt.draft.kind
        if kind is Kind.DATA:
            self.index += len(attempt.events)
            self.stored_events += len(attempt.events)
            self.buffer.settled(attempt.events)
        elif kind is Kind.START:
            self.run, self.before = sequence, before
            name = self.settings.name
            if name is not None and name in self.history.state.cancelled_names:
                self.error = SessionCancelled(self.session, sequence, 0)
        elif kind is Kind.TAKEOVER:
            self.run, self.before = self.history.state.run, self.history.before
            self.name = self.history.state.name
            self.index = self.history.next_index
        elif kind is Kind.RESET:
            self._reset = False
        elif kind in (Kind.END, Kind.FAILED):
            self.closed, self._terminal = True, None

    def _fenced(self, record: Record) -> None:
        kind, stored = record.kind, self.stored_events
        if kind is Kind.CANCELLED:
            reason = record.payload.get("reason")
            self.error = SessionCancelled(
                self.session, record.sequence, stored, reason if isinstance(reason, str) else None
            )
            return
        told = {Kind.START: "superseded", Kind.TAKEOVER: "taken_over", Kind.FAILED: "failed", Kind.ERASED: "erased"}
        reason = told.get(kind, "ended")
        self.error = SessionFenced(self.session, reason, record.sequence, stored, record.writer)
