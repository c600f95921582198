"""How long viewers had nothing although something had been written."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.faults.checker.records import Evidence
from bench.faults.checker.walk import Walk


@dataclass(slots=True)
class Stalls:
    """Seconds, over the steady viewers of sessions whose producers lived.

    Attributes:
        longest: Each viewer's longest time without a new event while a written one was outstanding: from the event
            before, or from the write if that was later, or from the first attach, to the receipt.
        after_ack: Each viewer's longest time from a producer's ack (or its own first attach) to the receipt.
    """

    longest: list[float] = field(default_factory=list)
    after_ack: list[float] = field(default_factory=list)


def measure(evidence: Evidence, walks: list[Walk]) -> Stalls:
    """Measure all that can be timed fairly: not viewers that stop reading, not sessions whose producer was stopped."""
    stalls = Stalls()
    for walk in walks:
        session, since = walk.viewed.session, walk.viewed.since
        if walk.viewed.role != "steady" or session in evidence.untimed or not walk.received_at:
            continue
        produced = walk.produced
        longest = after_ack = 0.0
        before = since
        for place, at in walk.received_at.items():
            longest = max(longest, at - max(before, produced.sent_at[place]))
            before = at
            if place in produced.acked_at:
                after_ack = max(after_ack, at - max(produced.acked_at[place], since))
        stalls.longest.append(longest)
        stalls.after_ack.append(after_ack)
    return stalls
