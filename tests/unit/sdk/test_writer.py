"""The session writer, rule by rule."""

from __future__ import annotations

import json

import pytest

from holdfast.actions import Look, Send, Settings, Sleep
from holdfast.answer import Answer, Verdict, read_ack, unknown
from holdfast.errors import (
    BrokerRewound,
    EventTooLarge,
    NotResumable,
    SessionCancelled,
    SessionClosed,
    SessionExpired,
    SessionFenced,
    SessionOpen,
    StreamReplaced,
    Uncertain,
)
from holdfast.wire import Kind, Record, codec, event
from holdfast.writer import BELIEVE_SECONDS, SessionWriter
from tests.unit.sdk.log_model import SubjectLog

ME = "me-1"


def drive(w: SessionWriter, log: SubjectLog, now: float = 0.0, steps: int = 50) -> float:
    """Do what the writer asks until it has nothing to do but wait; time does not pass."""
    for _ in range(steps):
        action = w.next(now)
        if isinstance(action, Send):
            w.answered(log.append(action.draft, action.expected), now)
        elif isinstance(action, Look):
            w.looked(*log.page(action.after, 64), now)
        else:
            return now
    raise AssertionError("the writer never rests")


def opened(log: SubjectLog, **kw: object) -> SessionWriter:
    w = SessionWriter("s", ME, Settings(**kw))  # type: ignore[arg-type]
    drive(w, log)
    return w


def send(w: SessionWriter, now: float = 0.0) -> Send:
    action = w.next(now)
    assert isinstance(action, Send), action
    return action


def kinds(log: SubjectLog) -> list[Kind]:
    return [r.kind for r in log.records]


def test_first_append_of_a_new_session_needs_no_look() -> None:
    """A new session costs one round trip."""
    w, log = SessionWriter("s", ME, Settings()), SubjectLog()
    action = send(w)
    assert (action.expected, action.draft.kind) == (0, Kind.START)
    w.answered(log.append(action.draft, 0), 0.0)
    assert (w.opened, w.run, w.before) == (True, 3, 0)


def test_start_fences_without_reading_what_it_fences() -> None:
    log = SubjectLog()
    log.append(codec.start("other-1"))
    w = SessionWriter("s", ME, Settings())
    w.answered(log.append(send(w).draft, 0), 0.0)
    assert send(w).expected == log.last


def test_before_is_the_place_a_front_end_starts_from() -> None:
    log = SubjectLog()
    log.append(codec.data([event("old")]))
    w = opened(log)
    assert (w.before, w.run) == (3, 5)


def test_if_open_raise_names_who_holds_the_run() -> None:
    log = SubjectLog()
    log.append(codec.start("other-1"))
    w = opened(log, if_open="raise")
    assert isinstance(w.error, SessionOpen)
    assert (w.error.run, w.error.writer) == (3, "other-1")
    assert kinds(log) == [Kind.START]


def test_if_open_raise_after_an_end_opens() -> None:
    log = SubjectLog()
    log.append(codec.start("other-1"))
    log.append(codec.end("other-1", 3))
    assert opened(log, if_open="raise").opened


def test_own_late_start_is_not_somebody_else_s_run() -> None:
    """if_open="raise" and the first start's ack lost: the open run that is found is ours."""
    log = SubjectLog()
    w = SessionWriter("s", ME, Settings(if_open="raise"))
    log.append(send(w).draft, 0)
    w.answered(unknown("timed out"), 0.0)
    drive(w, log, 1.0)
    assert w.error is None
    assert (w.run, kinds(log)) == (3, [Kind.START])


def test_cancelled_before_the_start() -> None:
    """The start is stored, so that viewers are told, and the writer learns at once that it is stopped."""
    log = SubjectLog()
    log.append(codec.cancelled("turn-1"))
    w = opened(log, name="turn-1")
    assert isinstance(w.error, SessionCancelled)
    with pytest.raises(SessionCancelled):
        w.write(event("x"))
    assert kinds(log) == [Kind.CANCELLED, Kind.START]


def test_cancel_that_races_the_start_is_seen() -> None:
    log = SubjectLog()
    w = SessionWriter("s", ME, Settings(name="turn-1"))
    action = send(w)
    log.append(codec.cancelled("turn-1"))
    w.answered(log.append(action.draft, action.expected), 0.0)
    drive(w, log)
    assert isinstance(w.error, SessionCancelled)


def test_leading_edge_then_interval() -> None:
    """The first event goes at once, what follows within 20 ms goes together."""
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    drive(w, log, 10.0)
    for text in "bcd":
        w.write(event(text))
    assert w.next(10.010) == Sleep(10.02)
    drive(w, log, 10.02)
    assert [[e.text for e in r.events] for r in log.records[1:]] == [["a"], ["b", "c", "d"]]
    assert [(r.first_index, r.run) for r in log.records[1:]] == [(0, 3), (1, 3)]


def test_flush_and_end_do_not_wait_for_the_interval() -> None:
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    drive(w, log, 10.0)
    w.write(event("b"))
    w.flush()
    drive(w, log, 10.001)
    w.write(event("c"))
    w.end({"tokens": 3})
    drive(w, log, 10.002)
    assert kinds(log) == [Kind.START, Kind.DATA, Kind.DATA, Kind.DATA, Kind.END]
    assert log.records[-1].payload == {"result": {"tokens": 3}}
    assert w.closed
    with pytest.raises(SessionClosed):
        w.write(event("d"))


def test_unknown_sends_the_same_bytes_again_and_lands_once() -> None:
    """10164, a time-out, no responders: the very draft again, even if more was written meanwhile."""
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    first = send(w, 1.0)
    log.append(first.draft, first.expected)
    w.answered(unknown("timed out"), 1.0)
    w.write(event("b"))
    assert w.next(1.0) == Sleep(1.002)
    again = send(w, 1.002)
    assert again == first
    w.answered(log.append(again.draft, again.expected), 1.002)
    drive(w, log, 2.0)
    assert log.texts(ME) == ["a", "b"]


def test_a_late_ack_settles_without_reading_the_log() -> None:
    """Under load acks outlive their time-out; the repetition's refusal then means nothing."""
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    first = send(w, 1.0)
    stored = log.append(first.draft, first.expected)
    w.answered(unknown("timed out"), 1.0)
    w.write(event("b"))
    again = send(w, 1.1)
    w.answered_late(first, stored, 1.2)
    assert (w.stored_events, w.next(1.2)) == (1, None)
    w.answered(log.append(again.draft, again.expected), 1.3)
    following = send(w, 1.3)
    assert (following.expected, following.draft.body) == (log.last, b"b")
    w.answered_late(first, stored, 1.4)
    assert (w.stored_events, w.expected) == (1, following.expected)


def test_backoff_grows_from_2_ms_to_its_bound() -> None:
    w, now, waits = SessionWriter("s", ME, Settings()), 0.0, []
    for _ in range(16):
        send(w, now)
        w.answered(unknown("503"), now)
        sleep = w.next(now)
        assert isinstance(sleep, Sleep)
        waits.append(sleep.until - now)
        now = sleep.until
    assert waits[0] == pytest.approx(0.002)
    assert waits == pytest.approx(sorted(waits))
    assert waits[-1] == pytest.approx(0.5)


def test_hurry_cuts_a_backoff_short() -> None:
    w = SessionWriter("s", ME, Settings())
    for _ in range(10):
        w.hurry(0.0)
        send(w, 0.0)
        w.answered(unknown("not connected"), 0.0)
    w.hurry(0.0)
    assert isinstance(w.next(0.0), Send)


@pytest.mark.parametrize(
    ("draft", "error", "reason"),
    [
        (codec.takeover("other-1", 3), SessionFenced, "taken_over"),
        (codec.start("other-1"), SessionFenced, "superseded"),
        (codec.failed(None, 3, "producer_lost"), SessionFenced, "failed"),
        (codec.end(None, 3), SessionFenced, "ended"),
        (codec.erased(), SessionFenced, "erased"),
        (codec.cancelled(3, "stop"), SessionCancelled, "stop"),
    ],
)
def test_fencing_records(draft: codec.Draft, error: type[SessionFenced], reason: str) -> None:
    """What takes the pen ends the writer with a typed error; the event in flight is not stored and it says so."""
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    drive(w, log, 1.0)
    log.append(draft)
    w.write(event("b"))
    drive(w, log, 2.0)
    assert type(w.error) is error
    assert (w.error.reason, w.error.stored_events, w.error.sequence) == (reason, 1, log.last)
    assert log.texts(ME) == ["a"]
    assert w.next(9e9) is None


@pytest.mark.parametrize(
    "draft",
    [
        codec.data([event("plain")]),
        codec.lost(3),
        codec.cancelled(99),
        codec.Draft(Kind.UNKNOWN, b"", {"Holdfast-Kind": "of-tomorrow"}),
    ],
)
def test_what_does_not_fence_is_read_past(draft: codec.Draft) -> None:
    log = SubjectLog()
    w = opened(log)
    log.append(draft)
    w.write(event("a"))
    drive(w, log, 1.0)
    assert (w.error, log.texts(ME)) == (None, ["a"])


def test_alive_after_a_third_of_the_lease() -> None:
    log = SubjectLog()
    w = opened(log, lease_seconds=30.0)
    assert w.next(5.0) == Sleep(10.0)
    drive(w, log, 10.0)
    assert (kinds(log), w.next(10.0)) == ([Kind.START, Kind.ALIVE], Sleep(20.0))


def test_no_lease_no_renewals() -> None:
    w = opened(SubjectLog(), lease_seconds=None)
    assert w.next(1e6) is None


def test_a_poke_asks_the_log_at_once() -> None:
    """The hint itself decides nothing: a poke without a cancel costs one small record."""
    log = SubjectLog()
    w = opened(log)
    w.poke()
    drive(w, log, 0.1)
    assert (kinds(log)[-1], w.error) == (Kind.ALIVE, None)
    log.append(codec.cancelled(w.run))
    w.poke()
    drive(w, log, 0.2)
    assert isinstance(w.error, SessionCancelled)


def test_reset_drops_what_is_queued_and_keeps_the_index_dense() -> None:
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    drive(w, log, 1.0)
    w.write(event("never sent"))
    w.reset()
    w.write(event("b"))
    drive(w, log, 2.0)
    assert kinds(log) == [Kind.START, Kind.DATA, Kind.RESET, Kind.DATA]
    assert [r.first_index for r in log.records] == [0, 0, 1, 1]
    assert w.idle


def insist(w: SessionWriter, log: SubjectLog, now: float) -> float:
    """Drive for as long as it takes to believe that the log went back; when the error came."""
    until = now + BELIEVE_SECONDS + 2.0
    while w.error is None and now < until:
        drive(w, log, now)
        now += 0.5
    return now


def test_expired_session_never_goes_on_at_zero() -> None:
    log = SubjectLog()
    w = opened(log)
    log.expire()
    w.write(event("a"))
    insist(w, log, 1.0)
    assert isinstance(w.error, SessionExpired)
    assert log.records == []


def test_delete_marker_is_an_expiry() -> None:
    log = SubjectLog()
    w = opened(log)
    log.records = [Record(9, Kind.UNKNOWN, marker=True)]
    w.write(event("a"))
    drive(w, log, 1.0)
    assert isinstance(w.error, SessionExpired)


def test_rolled_back_stream() -> None:
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    drive(w, log, 1.0)
    log.records.pop()
    w.write(event("b"))
    assert insist(w, log, 2.0) > 2.0 + BELIEVE_SECONDS
    assert isinstance(w.error, BrokerRewound)
    assert (w.error.acknowledged, w.error.actual) == (5, 3)


@pytest.mark.parametrize("actual", [0, 1])
def test_a_deposed_leader_does_not_end_a_run(actual: int) -> None:
    """A leader without its quorum refuses from its own old log for ten seconds: the same bytes go again, and land."""
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    drive(w, log, 1.0)
    w.write(event("b"))
    now = 2.0
    first = send(w, now)
    w.answered(Answer(Verdict.REFUSED, actual, "wrong last sequence"), now)
    while now < 12.0:
        now += 1.0
        again = send(w, now)
        assert again == first
        w.answered(Answer(Verdict.REFUSED, actual, "wrong last sequence"), now)
    drive(w, log, now + 2.0)
    assert w.error is None
    assert [e.text for r in log.records for e in r.events] == ["a", "b"]


def test_the_time_to_believe_starts_anew_with_any_other_answer() -> None:
    log = SubjectLog()
    w = opened(log)
    w.write(event("a"))
    now = 0.0
    for answer in (Answer(Verdict.REFUSED, 0, "x"), unknown("timed out")) * 12:
        now += 2.0
        send(w, now)
        w.answered(answer, now)
        assert w.error is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(Verdict.GONE, 0, "x"), StreamReplaced), (Answer(Verdict.TOO_LARGE, 0, "x"), EventTooLarge)],
)
def test_answers_that_no_retry_mends(answer: Answer, error: type[Exception]) -> None:
    w = opened(SubjectLog())
    w.write(event("a"))
    send(w, 1.0)
    w.answered(answer, 1.0)
    assert isinstance(w.error, error)
    assert w.next(9e9) is None


def test_unsettled_too_long_is_uncertain() -> None:
    """The age of an unsettled attempt is bounded: its expected sequence protects only while that message exists."""
    w = opened(SubjectLog(), give_up_seconds=60.0)
    w.write(event("a"))
    now = 1.0
    while w.error is None:
        action = w.next(now)
        if isinstance(action, Send):
            w.answered(unknown("timed out"), now)
        now += 0.5
    assert isinstance(w.error, Uncertain)
    assert 60.0 < now < 63.0
    assert (w.error.stored_events, w.error.pending_events, w.error.why) == (0, 1, "timed out")


def test_stale_replicas_make_the_leader_speak_again() -> None:
    """A walk that cannot see what the leader named is retried, then the same bytes are sent again."""
    log = SubjectLog()
    w = opened(log)
    log.append(codec.data([event("plain")]))
    w.write(event("a"))
    first = send(w, 1.0)
    w.answered(log.append(first.draft, first.expected), 1.0)
    now, looks = 1.0, 0
    while True:
        action = w.next(now)
        if isinstance(action, Look):
            looks += 1
            w.looked([], False, now)
        elif isinstance(action, Sleep):
            now = action.until
        else:
            break
    assert action == first
    assert 5 <= looks <= 12
    assert now < 5.0


def test_takeover_hands_over_the_run_and_goes_on() -> None:
    log = SubjectLog()
    old = SessionWriter("s", "old-1", Settings())
    drive(old, log)
    old.write(event("a"))
    drive(old, log, 1.0)
    log.append(codec.data([event("plain")]))
    w = opened(log, mode="takeover")
    assert [e.text for e in w.history.events] == ["a", "plain"]
    assert (w.run, w.before, w.index) == (3, 0, 1)
    w.write(event("b"))
    drive(w, log, 2.0)
    old.write(event("zombie"))
    drive(old, log, 3.0)
    assert isinstance(old.error, SessionFenced)
    assert (old.error.reason, old.error.by) == ("taken_over", ME)
    assert log.records[-1].first_index == 1


def test_who_took_a_named_run_over_is_stopped_by_its_name() -> None:
    """The name is the run's, not the writer's: a cancel by name reaches whoever holds the pen."""
    log = SubjectLog()
    log.append(codec.start("other-1", name="r1"))
    w = opened(log, mode="takeover")
    log.append(codec.cancelled("r1"))
    w.write(event("into the void"))
    drive(w, log, 1.0)
    assert isinstance(w.error, SessionCancelled)
    assert log.texts(ME) == []


def test_takeover_history_starts_after_the_last_reset() -> None:
    log = SubjectLog()
    old = SessionWriter("s", "old-1", Settings())
    drive(old, log)
    old.write(event("a"))
    drive(old, log, 1.0)
    old.reset()
    old.write(event("b"))
    drive(old, log, 2.0)
    assert [e.text for e in opened(log, mode="takeover").history.events] == ["b"]


def test_two_takeovers_at_once_exactly_one_wins() -> None:
    log = SubjectLog()
    log.append(codec.start("old-1"))
    a, b = (SessionWriter("s", f"{n}-1", Settings(mode="takeover")) for n in "ab")
    for w in (a, b):
        assert w.next(0.0) == Look(0)
        w.looked(*log.page(0, 64), 0.0)
    sends = [(w, send(w)) for w in (a, b)]
    for w, s in sends:
        w.answered(log.append(s.draft, s.expected), 0.0)
    drive(a, log)
    drive(b, log)
    assert (a.opened, b.opened) == (True, False)
    assert isinstance(b.error, SessionFenced)
    assert kinds(log) == [Kind.START, Kind.TAKEOVER]


@pytest.mark.parametrize("busy", [0, 3])
def test_takeover_of_a_busy_writer_keeps_trying(busy: int) -> None:
    """Data of the old holder between the look and the append is read, counted, and followed."""
    log = SubjectLog()
    log.append(codec.start("old-1"))
    w, index = SessionWriter("s", ME, Settings(mode="takeover")), 0
    while not w.opened:
        action = w.next(0.0)
        if isinstance(action, Look):
            w.looked(*log.page(action.after, 64), 0.0)
        elif isinstance(action, Send):
            if index < busy:
                log.append(codec.data([event(f"e{index}")], writer="old-1", run=3, index=index))
                index += 1
            w.answered(log.append(action.draft, action.expected), 0.0)
    assert (w.index, len(w.history.events)) == (busy, busy)


@pytest.mark.parametrize("drafts", [[], [codec.start("old-1"), codec.end("old-1", 3)]])
def test_nothing_to_resume(drafts: list[codec.Draft]) -> None:
    log = SubjectLog()
    for draft in drafts:
        log.append(draft)
    w = opened(log, mode="takeover")
    assert isinstance(w.error, NotResumable)
    assert len(log.records) == len(drafts)


def test_unusable_result_is_refused_before_anything_is_closed() -> None:
    log = SubjectLog()
    w = opened(log)
    with pytest.raises(TypeError):
        w.end(object())
    with pytest.raises(EventTooLarge):
        w.end("x" * 20_000)
    w.write(event("still open"))
    drive(w, log, 1.0)
    assert log.texts(ME) == ["still open"]


def refusal(code: int, why: str) -> dict[str, object]:
    return {"stream": "S", "seq": 0, "error": {"code": 400, "err_code": code, "description": why}}


@pytest.mark.parametrize(
    ("ack", "answer"),
    [
        ({"stream": "S", "seq": 7}, Answer(Verdict.STORED, 7)),
        (refusal(10071, "wrong last sequence: 12"), Answer(Verdict.REFUSED, 12, "wrong last sequence: 12")),
        (refusal(10071, "wrong last sequence"), Answer(Verdict.UNKNOWN, 0, "wrong last sequence")),
        (refusal(10164, "in process"), Answer(Verdict.UNKNOWN, 0, "10164 in process")),
        (refusal(10060, "expected stream"), Answer(Verdict.GONE, 0, "expected stream")),
        (refusal(10097, "header size"), Answer(Verdict.TOO_LARGE, 0, "header size")),
        ({"seq": 0}, Answer(Verdict.UNKNOWN, 0, "unreadable ack")),
        ({"seq": True}, Answer(Verdict.UNKNOWN, 0, "unreadable ack")),
        ([], Answer(Verdict.UNKNOWN, 0, "unreadable ack")),
    ],
)
def test_acks(ack: object, answer: Answer) -> None:
    """Error acks carry seq 0 too: the error is looked at first."""
    assert read_ack(json.dumps(ack).encode()) == answer


def test_ack_of_garbage() -> None:
    assert read_ack(b"\xff{").verdict is Verdict.UNKNOWN
