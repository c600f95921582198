"""Many pods, one writer, a broker that fails in every way it does: the rule kills no healthy run, and ends dead ones.

Time goes in seconds. A leader that has lost its quorum goes on answering probes for ten seconds (it was seen to), a pod
may be cut from live messages and not from requests, or the reverse, or be suspended; an append may be stored without
anybody being told, or long after it was asked for.
"""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis import given, settings

from holdfast.wire import RunState, codec, decode, step
from holdfast.wire.run import NEW
from holdfast_gateway.core.judge import Judge, Probe, Rule, StoreFailed

LEASE, GRACE, RENEW = 30, 20, 10
RULE = Rule(grace_seconds=GRACE, idle_seconds=600)
WRITER_BACKOFF_SECONDS = 2
LYING_LEADER_SECONDS = 10

Windows = list[tuple[int, int]]


def inside(second: int, windows: Windows) -> bool:
    return any(begin <= second < end for begin, end in windows)


class Log:
    """The session's subject."""

    def __init__(self) -> None:
        self.records = [decode(1, (draft := codec.start("w", lease_seconds=LEASE)).headers, draft.body)]
        self.late: list[tuple[int, codec.Draft, int]] = []

    @property
    def tail(self) -> int:
        return self.records[-1].sequence

    def append(self, draft: codec.Draft, expected: int) -> bool:
        if expected != self.tail:
            return False
        self.records.append(decode(self.tail + 1, draft.headers, draft.body))
        return True


class Pod:
    """A judge with its feed and its requests."""

    def __init__(self, rng: random.Random, seconds: int, faults: float, rule: Rule) -> None:
        def windows(count: int, longest: int) -> Windows:
            made = []
            for _ in range(count):
                if rng.random() < faults:
                    begin = rng.randrange(20, seconds)
                    made.append((begin, begin + rng.randrange(2, longest)))
            return made

        self.deaf = windows(1, 60)  # no live messages; the tail check finds them when the request path works
        self.mute = windows(1, 60)  # requests fail
        self.asleep = windows(1, 60)
        self.judge = Judge(rule, 0.0)
        self.state: RunState = NEW
        self.seen = 0
        self.cut = False

    def second(self, now: int, log: Log, quorum: bool, leader_answers: bool, hint: float | None) -> None:
        if inside(now, self.asleep):
            return
        mute = inside(now, self.mute)
        if mute or not leader_answers:
            self.judge.trouble(now)
            self.cut = True
        elif self.cut:
            self.judge.trouble(now)  # the reconnect
            self.cut = False
        hears = not inside(now, self.deaf) or now % 5 == 0
        if hears and not mute and quorum:
            for record in log.records[self.seen :]:
                self.state, _ = step(self.state, record)
                self.judge.saw(record.sequence, now)
            self.seen = len(log.records)
        ask = self.judge.tick(now, self.state, hint, looked_at=True)
        if ask is None:
            return
        if isinstance(ask, Probe):
            self.judge.probed(not mute and leader_answers, self.judge.tail, now)
            return
        draft = codec.failed(None, ask.run, ask.reason) if isinstance(ask, StoreFailed) else codec.lost(ask.run)
        if mute:
            self.judge.unsettled(now)
        elif not quorum:
            log.late.append((now, draft, ask.expected))  # an isolated leader may still commit it after the heal
            self.judge.unsettled(now)
        elif log.append(draft, ask.expected):
            self.judge.stored(now)
        else:
            self.judge.refused(now)


def simulate(
    seed: int, pods: int, faults: float, crash_at: int | None, hints: bool, rule: Rule = RULE
) -> tuple[list[tuple[int, str]], bool]:
    """(what pods stored, by second; whether the writer was healthy whenever a run was closed)."""
    rng = random.Random(seed)
    seconds = 400
    cast = [Pod(rng, seconds, faults, rule) for _ in range(pods)]
    outages: Windows = []
    for _ in range(2):
        if rng.random() < faults:
            begin = rng.randrange(20, seconds)
            outages.append((begin, begin + rng.randrange(2, 90)))
    links: Windows = []
    if rng.random() < faults * 0.7:
        begin = rng.randrange(20, seconds)
        links.append((begin, begin + rng.randrange(2, 90)))
    log, stored, healthy = Log(), [], True
    expected, last_write, next_try, fenced = 1, 0, 0, False
    for now in range(1, seconds):
        quorum = not inside(now, outages)
        answers = quorum or any(begin <= now < min(end, begin + LYING_LEADER_SECONDS) for begin, end in outages)
        if quorum:
            for _, draft, at in log.late:
                log.append(draft, at)
            log.late.clear()
        actors: list[Pod | None] = [*cast, None]
        rng.shuffle(actors)
        for actor in actors:
            if actor is not None:
                before = len(log.records)
                hint = None
                if hints and rng.random() >= faults / 2:
                    hint = float(now - crash_at) if crash_at is not None and now > crash_at else 1.0
                if hints and rng.random() < faults:
                    hint = 60.0  # core NATS is cut off while the stream is not
                actor.second(now, log, quorum, answers, hint)
                stored += [(now, r.kind.value) for r in log.records[before:]]
                continue
            if fenced or (crash_at is not None and now >= crash_at) or now < next_try:
                continue
            if now - last_write < RENEW and rng.random() > 0.02:
                continue
            if not quorum or inside(now, links):
                next_try = now + WRITER_BACKOFF_SECONDS
                continue
            for record in log.records[expected:]:
                fenced = fenced or record.kind.value == "failed"
            if not fenced:
                expected = log.tail
                log.append(codec.alive("w", 1), expected)
                expected = log.tail
                last_write = now
    for now, kind in stored:
        if kind == "failed":
            recent = range(max(0, now - LEASE - GRACE - 10), now + 1)
            culpable = (crash_at is not None and now >= crash_at) or any(inside(s, links) for s in recent)
            healthy = healthy and culpable
    return stored, healthy


@given(
    seed=st.integers(0, 1 << 32), pods=st.integers(1, 4), faults=st.sampled_from([0.3, 0.6, 1.0]), hints=st.booleans()
)
@settings(max_examples=250, deadline=None)
def test_no_healthy_run_is_killed(seed: int, pods: int, faults: float, hints: bool) -> None:
    stored, healthy = simulate(seed, pods, faults, None, hints)
    assert healthy, stored


@given(seed=st.integers(0, 1 << 32), pods=st.integers(1, 4), crash_at=st.integers(20, 250), hints=st.booleans())
@settings(max_examples=120, deadline=None)
def test_a_dead_run_is_told_and_closed_in_time_exactly_once(seed: int, pods: int, crash_at: int, hints: bool) -> None:
    stored, _ = simulate(seed, pods, 0.0, crash_at, hints)
    after = [(now - crash_at, kind) for now, kind in stored]
    assert [kind for _, kind in after] == ["lost", "failed"]
    (told, _), (closed, _) = after
    assert told <= (10 if hints else LEASE + 1)
    assert closed <= LEASE + GRACE + 2


@given(seed=st.integers(0, 1 << 32), faults=st.sampled_from([0.3, 1.0]), crash_at=st.integers(20, 250))
@settings(max_examples=120, deadline=None)
def test_under_faults_a_dead_run_is_closed_at_most_once(seed: int, faults: float, crash_at: int) -> None:
    stored, _ = simulate(seed, 3, faults, crash_at, True)
    assert [kind for _, kind in stored].count("failed") <= 1


def test_the_model_can_fail() -> None:
    """With a rule that closes as soon as a hint is lost, the same schedules kill healthy runs."""
    impatient = Rule(hint_lost_seconds=1, grace_seconds=0, idle_seconds=600)
    killed = sum(not simulate(seed, 2, 1.0, None, True, impatient)[1] for seed in range(40))
    assert killed > 0
