"""From evidence to a verdict: what each viewer was owed, what it got, and for how long it had nothing.

Every viewer is owed, exactly once and in order, each event that its producer knew stored, and each event that any
other viewer of the session saw: an event without an ack may be in the log or not, but the log is one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults.checker.records import Evidence, Expected, Place, Produced, load
from bench.faults.checker.stalls import Stalls, measure
from bench.faults.checker.walk import Walk

ASKED = ("lost", "doubled", "reordered", "invented", "unended")
KINDS = (*ASKED, "after_end", "split", "gap", "late", "unfenced", "empty")
FENCED = "SessionFenced"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be."""

    kind: str
    session: str
    viewer: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """The judge's answer.

    Attributes:
        findings: All that is wrong; empty is the only good answer.
        viewers: Viewers judged.
        events: Events that the producers knew stored.
        deliveries: Data events that viewers received.
        stalls: How long steady viewers had nothing.
    """

    findings: list[Finding] = field(default_factory=list)
    viewers: int = 0
    events: int = 0
    deliveries: int = 0
    stalls: Stalls = field(default_factory=Stalls)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each kind, zeros included."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS}

    def text(self, most: int = 40) -> str:
        """The counts and the first findings, for people."""
        lines = [" ".join(f"{kind}={count}" for kind, count in self.counts.items())]
        lines += [f"  {f.kind}: {f.session} {f.viewer}: {f.detail}" for f in self.findings[:most]]
        if len(self.findings) > most:
            lines.append(f"  ... and {len(self.findings) - most} more")
        return "\n".join(lines)


def judge_directory(directory: Path) -> Verdict:
    """Judge the journals of one run of the harness."""
    return judge(load(directory))


def judge(evidence: Evidence) -> Verdict:
    """Judge evidence; pure."""
    verdict = Verdict()
    walks: dict[str, list[Walk]] = {session: [] for session in evidence.produced}
    for viewed in evidence.viewed.values():

        def report(kind: str, detail: str, session: str = viewed.session, viewer: str = viewed.name) -> None:
            verdict.findings.append(Finding(kind, session, viewer, detail))

        produced = evidence.produced.get(viewed.session)
        if produced is None:
            report("empty", "its session was never written")
            continue
        walk = Walk(viewed, produced, report).read()
        walks[viewed.session].append(walk)
        verdict.deliveries += len(walk.ids)
    verdict.viewers = len(evidence.viewed)
    verdict.events = sum(len(produced.acked_at) for produced in evidence.produced.values())
    for session, of_session in walks.items():
        _judge_session(evidence, session, of_session, verdict)
    if not verdict.events or not verdict.deliveries:
        verdict.findings.append(Finding("empty", "-", "-", "nothing was stored or nothing was delivered"))
    verdict.stalls = measure(evidence, [walk for of_session in walks.values() for walk in of_session])
    return verdict


def _judge_session(evidence: Evidence, session: str, walks: list[Walk], verdict: Verdict) -> None:
    produced = evidence.produced[session]
    if not walks:
        verdict.findings.append(Finding("empty", session, "-", "nobody watched it"))
    owed = set(produced.acked_at).union(*(walk.ids for walk in walks))
    last_run = max((place[0] for place in produced.sent.values()), default=0)
    for walk in walks:
        _judge_owed(walk, owed)
        if walk.viewed.role != "vanished":
            _judge_end(walk, last_run)
        for run, terminal in walk.terminals.items():
            told = produced.ended.get(run)
            if told is not None and told != terminal.type:
                walk.report("invented", f"run {run} ended with {terminal.type} {terminal.id}, its writer stored {told}")
    _judge_refusals(evidence, produced, verdict)
    for expected in evidence.expected:
        if expected.session == session:
            for walk in walks:
                _judge_expected(walk, expected)
    _judge_agreement(session, walks, verdict)


def _judge_refusals(evidence: Evidence, produced: Produced, verdict: Verdict) -> None:
    """A writer that woke up in a closed run is told so; any other writer is never refused."""
    runs = {place[0] for place in produced.sent.values()}
    for run in sorted(runs):
        demanded, error = (produced.session, run) in evidence.fenced, produced.refused.get(run)
        if demanded and error != FENCED:
            detail = f"the woken writer of run {run} was told {error or 'nothing'}"
            verdict.findings.append(Finding("unfenced", produced.session, "-", detail))
        elif error and not demanded:
            detail = f"the healthy writer of run {run} was refused: {error}"
            verdict.findings.append(Finding("unended", produced.session, "-", detail))


def _judge_owed(walk: Walk, owed: set[Place]) -> None:
    if walk.viewed.role == "vanished":
        last = max(walk.ids, default=(0, 0, -1))
        owed = {place for place in owed if place <= last}
    for place in sorted(owed - walk.ids.keys()):
        walk.report("lost", f"{place}")


def _judge_end(walk: Walk, last_run: int) -> None:
    if walk.open or walk.run < last_run:
        walk.report("unended", f"no terminal for run {walk.run if walk.open else last_run}")
    elif walk.viewed.finished != "status 204":
        walk.report("unended", f"told of the end, but not told to stop: {walk.viewed.finished or 'still waiting'}")


def _judge_expected(walk: Walk, expected: Expected) -> None:
    if expected.type == "session.producer":
        _judge_told(walk, expected)
        return
    terminal = walk.terminals.get(expected.run)
    if terminal is None:
        return  # unended, or a vanished viewer that is owed no end
    if (terminal.type, terminal.reason) != (expected.type, expected.reason):
        walk.report("invented", f"run {expected.run} ended with {terminal}, not {expected.type} {expected.reason}")
    elif walk.viewed.role == "steady" and terminal.at - expected.after > expected.within_seconds:
        seconds = terminal.at - expected.after
        walk.report("late", f"{terminal.type} after {seconds:.1f} s, bound {expected.within_seconds:.1f} s")


def _judge_told(walk: Walk, expected: Expected) -> None:
    """Told of the producer's state in time; whoever attached later is told as long after that."""
    if walk.viewed.role != "steady":
        return
    due = max(expected.after, walk.viewed.since) + expected.within_seconds
    told = [at for at, state in walk.producer_states if state == expected.reason]
    if not told or min(told) > due:
        when = f"{min(told) - due:.1f} s late" if told else "never"
        walk.report("late", f"told that the producer is {expected.reason}: {when}")


def _judge_agreement(session: str, walks: list[Walk], verdict: Verdict) -> None:
    """One log, so one id for each event, each start and each terminal, whichever gateway served it."""
    first: dict[object, str] = {}
    for walk in walks:
        told: list[tuple[object, str]] = [*walk.ids.items()]
        told += [(("start", run), id_) for run, id_ in walk.starts.items()]
        told += [(("terminal", run), f"{end.type} {end.id}") for run, end in walk.terminals.items()]
        for what, id_ in told:
            before = first.setdefault(what, id_)
            if before != id_:
                walk.report("split", f"{what} is {id_} here and {before} elsewhere")
