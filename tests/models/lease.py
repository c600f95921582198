"""Closing the runs of dead producers: thousands of random worlds, second by second.

A writer that is well, and may be paused or cut off; a broker that may lose its quorum; two pods, each of which may be
cut off from the stream or from core NATS, or be paused. A rule decides when a pod stores `failed`. It must never close
the run of a writer that was well, and must close a dead one's in bounded time. Fault rates are far above life's: only
zero against more than zero means something.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, NamedTuple

LEASE, RENEW, GRACE, HINT = 30, 10, 20, 2
HINT_LOST_AFTER = 6
LEADER_LIES_FOR = 10
"""Seconds for which a leader without its quorum still answers an append that must fail (8 to 14 measured for reads)."""

EXCUSE = 60
"""A writer paused or cut off this recently is not innocent."""

RuleName = Literal["core heartbeats", "core heartbeats and a request", "lease alone", "lease and challenge"]
Spans = list[tuple[int, int]]


class Verdict(NamedTuple):
    """When the writer died, viewers were told of it, and the run was closed, in seconds; None: never."""

    died_at: int
    told_at: int | None
    closed_at: int | None
    innocent: bool


@dataclass
class Pod:
    cut: Spans
    paused: Spans
    core_cut: Spans
    seen: int = 0
    since: int = 0
    grace: int = 0
    hint_at: int = 0


def _spans(rng: random.Random, most: int, longest: int, until: int, chance: float) -> Spans:
    spans = []
    for _ in range(most):
        if rng.random() < chance:
            at = rng.randrange(20, until)
            spans.append((at, at + rng.randrange(2, longest)))
    return spans


def _in(spans: Spans, now: int) -> bool:
    return any(start <= now < end for start, end in spans)


def live(
    rule: RuleName,
    seed: int,
    *,
    faults: bool = True,
    dies: bool = False,
    hints: bool = False,
    grace: int = GRACE,
    until: int = 400,
) -> Verdict:
    """One world from start to the first terminal. `hints`: a lost heartbeat shortens the wait for the challenge."""
    rng = random.Random(seed)
    f = 1.0 if faults else 0.0
    no_quorum = _spans(rng, 2, 90, until, 0.4 * f)
    writer_cut, writer_paused = _spans(rng, 1, 90, until, 0.3 * f), _spans(rng, 1, 60, until, 0.3 * f)
    pods = [
        Pod(_spans(rng, 1, 90, until, 0.3 * f), _spans(rng, 1, 90, until, 0.3 * f), _spans(rng, 1, 200, until, 0.5 * f))
        for _ in range(2)
    ]
    dies_at = rng.randrange(50, 200) if dies else until + 1
    talking, at = [], 0
    while at < until:
        length = rng.randrange(1, 60)
        talking.append((at, at + length))
        at += length + rng.randrange(1, 200)
    log: list[tuple[str, int]] = [("start", 0)]
    expected, told_at = 0, None
    for now in range(1, until):
        quorum = not _in(no_quorum, now)
        well = now < dies_at and not _in(writer_paused, now) and not _in(writer_cut, now)
        actors: list[Pod | None] = [None, *pods]
        rng.shuffle(actors)
        for pod in actors:
            if pod is None:
                if not well:
                    continue
                if now % HINT == 0:
                    for each in pods:
                        if not _in(each.core_cut, now) and not _in(each.paused, now):
                            each.hint_at = now
                renewing = rule in ("lease alone", "lease and challenge") and now - log[expected][1] >= RENEW
                if quorum and (_in(talking, now) or renewing):
                    log.append(("data", now))
                    expected = len(log) - 1
                continue
            what = _judge(rule, pod, log, now, quorum, no_quorum, well, hints, grace)
            if what == "lost" and now >= dies_at:
                told_at = told_at or now
            if what:
                log.append((what, now))
            if what == "failed":
                excuse = any(_in(writer_paused, t) or _in(writer_cut, t) for t in range(max(0, now - EXCUSE), now + 1))
                return Verdict(dies_at, told_at, now, now < dies_at and not excuse)
    return Verdict(dies_at, told_at, None, False)


def _judge(
    rule: RuleName,
    pod: Pod,
    log: list[tuple[str, int]],
    now: int,
    quorum: bool,
    no_quorum: Spans,
    well: bool,
    hints: bool,
    grace: int,
) -> str:
    """What a pod stores this second, if anything; its append is by expected sequence."""
    if _in(pod.paused, now):
        return ""
    linked = not _in(pod.cut, now)
    tail = len(log) - 1
    if linked and quorum and not _in(pod.paused, now - 1) and pod.seen != tail:
        pod.seen, pod.since, pod.grace = tail, now, 0  # a pod that has just woken acts before it has read
    can_store = linked and quorum and pod.seen == tail
    if rule.startswith("core"):
        if now - pod.hint_at <= LEASE:
            return ""
        if rule == "core heartbeats and a request" and well and not _in(pod.core_cut, now):
            pod.hint_at = now
            return ""
        return "failed" if can_store else ""
    if rule == "lease alone":
        return "failed" if now - pod.since > LEASE and can_store else ""
    lying = any(start <= now < min(end, start + LEADER_LIES_FOR) for start, end in no_quorum)
    if not (linked and (quorum or lying)):  # a request that fails restarts every clock
        pod.since, pod.grace = now, 0
        return ""
    if log[pod.seen][0] != "lost":
        silent = now - pod.since
        early = hints and now - pod.hint_at > HINT_LOST_AFTER and silent > HINT_LOST_AFTER
        return "lost" if (silent > LEASE or early) and can_store else ""
    pod.grace += 1
    return "failed" if pod.grace > grace and can_store else ""
