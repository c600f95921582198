"""`docs/reliability.md`, written from results and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from bench.faults.checker.judge import ASKED, KINDS
from bench.faults.schedule import FAULTS
from bench.faults.world import CLOSED_WITHIN_SECONDS, GRACE_SECONDS, LEASE_SECONDS

TARGET_SECONDS = {"leader-kill": 10.0, "planned-change": 1.0, "gateway-kill": 3.0}

HEAD = """# Reliability, counted

Made by `make bench-faults` from its own results; do not edit. Each run starts producers on the real SDK and viewers
that speak raw HTTP under the rules of `EventSource`, does one thing to a three-node NATS cluster, to one of two
gateways (one serves past uvicorn, one through it), to their link, to viewers or to producers, and lets a checker that
imports nothing of Holdfast compare what producers knew stored with what each viewer recorded.

"""

LEGEND = f"""
What the columns say

- **viewers, events, deliveries**: summed over the runs; events are those that a producer knew stored (acked).
- **lost**: an event that was acked, or that another viewer of the session saw, and that a viewer did not get.
- **doubled**, **reordered**, **invented**: an event twice; out of order by producer or by id; never written there, or
  an end that is not the one its writer stored.
- **unended**: a viewer without the terminal event or without the 204 that stops it; a healthy writer refused.
- **other**: data after an end, different ids for one event at different viewers, a gap told where nothing was
  trimmed, a failure told too late, a woken writer that was not told, an empty run.
- **stall**: for each steady viewer the longest time without a new event while a written one was outstanding, end to
  end from the producer's `write`: so it holds the broker's election as well. p50 is over the viewers, longest over
  all. Viewers that stop reading, and sessions whose producer was itself stopped or killed, are not timed. With the
  lease of {LEASE_SECONDS} s and the grace of {GRACE_SECONDS} s that these runs use, a dead producer's run has to be
  closed within {CLOSED_WITHIN_SECONDS} s.
- **election**: the longest that a stream had no leader after a SIGKILL, as the broker's own API told; the broker waits
  4 to 9 s before it elects, and again when the vote is split. The stall holds it.
"""

WHAT = {
    "leader-kill": "SIGKILL of the node that leads a stream; started again 3 to 6 s later",
    "planned-change": "four step-downs of stream leaders, then one node drained with lame duck and started again",
    "gateway-kill": "SIGKILL of a gateway under its viewers, sometimes of both in turn; started again",
    "link-cut": "all links of a gateway to NATS reset, frozen, black-holed or forgotten for 0.2 to 7 s, then healed",
    "bad-viewers": "24 KB events at 60/s; viewers that stop reading, that are killed, that keep hanging up",
    "dead-producer": "a producer killed; one stopped until judged lost, and woken; one stopped, taken over by a new "
    "run or a resume, and woken",
}


def render(results: dict[str, Any]) -> str:
    """The whole page."""
    rows = [_row(fault, [o for o in results["outcomes"] if o["fault"] == fault]) for fault in FAULTS]
    columns = [
        "fault",
        "runs",
        "viewers",
        "events",
        "deliveries",
        *ASKED,
        "other",
        "p50 stall",
        "longest stall",
        "target",
    ]
    columns.append("election")
    table = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|", *rows]
    what = [f"- **{fault}**: {text}." for fault, text in WHAT.items()]
    facts = [f"- {name}: {value}" for name, value in results["machine"].items()]
    seeds = sorted({str(outcome["seed"]) for outcome in results["outcomes"]})
    parts = [
        HEAD + "\n".join(table),
        LEGEND,
        "The faults\n",
        "\n".join(what),
        f"\nSeed {', '.join(seeds)}: `python -m bench.faults --seed {seeds[-1]}` does the same things again.\n",
        "The machine\n",
        "\n".join(facts),
    ]
    parts += _over_target(results["outcomes"])
    wrong = [outcome for outcome in results["outcomes"] if any(outcome["counts"].values())]
    if wrong:
        parts.append("\nRuns in which something was wrong\n")
        for outcome in wrong:
            counts = ", ".join(f"{kind} {count}" for kind, count in outcome["counts"].items() if count)
            note = f" {outcome['note']}" if "note" in outcome else ""
            parts.append(f"- {outcome['fault']} run {outcome['run']}: {counts} ({'; '.join(outcome['done'])}).{note}")
    return "\n".join(parts) + "\n"


def _over_target(outcomes: list[dict[str, Any]]) -> list[str]:
    """The runs whose longest stall is over its target, with the share that was the broker's election."""
    lines = []
    for outcome in outcomes:
        target, longest = TARGET_SECONDS.get(outcome["fault"]), max(outcome["stalls_seconds"], default=0.0)
        if target and longest >= target:
            election = outcome["election_seconds"]
            of_which = f", of which {election:.2f} s without a leader" if election else ""
            lines.append(f"- {outcome['fault']} run {outcome['run']}: {longest:.2f} s{of_which}")
    return ["\nStalls over their target\n", *lines] if lines else []


def _row(fault: str, outcomes: list[dict[str, Any]]) -> str:
    def total(name: str) -> int:
        return sum(outcome[name] for outcome in outcomes)

    def count(kind: str) -> int:
        return sum(outcome["counts"][kind] for outcome in outcomes)

    stalls = [stall for outcome in outcomes for stall in outcome["stalls_seconds"]]
    target = TARGET_SECONDS.get(fault)
    cells = [fault, len(outcomes), total("viewers"), total("events"), total("deliveries")]
    cells += [count(kind) for kind in ASKED]
    cells.append(sum(count(kind) for kind in KINDS if kind not in ASKED))
    cells += [f"{median(stalls):.2f} s", f"{max(stalls):.2f} s"] if stalls else ["-", "-"]
    cells.append(f"< {target:.0f} s" if target else "-")
    elections = [outcome["election_seconds"] for outcome in outcomes if outcome["election_seconds"]]
    cells.append(f"{max(elections):.2f} s" if elections else "-")
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def write(results: Path, page: Path) -> None:
    """Render a results file into a page."""
    page.write_text(render(json.loads(results.read_text())))
