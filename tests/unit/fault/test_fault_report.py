"""The page says what the results say: a fault's row, its sums, and every run that was not good."""

from __future__ import annotations

from typing import Any

from bench.faults.checker.judge import KINDS
from bench.faults.report import render
from bench.faults.schedule import FAULTS


def outcome(fault: str, run: int, stalls: list[float], **counts: int) -> dict[str, Any]:
    return {
        "fault": fault,
        "run": run,
        "seed": 5,
        "viewers": 10,
        "events": 100,
        "deliveries": 1000,
        "counts": {**dict.fromkeys(KINDS, 0), **counts},
        "stalls_seconds": stalls,
        "election_seconds": 6.5 if fault == "leader-kill" else 0.0,
        "done": ["1.0s killed n1"],
    }


def page(*outcomes: dict[str, Any]) -> str:
    return render({"machine": {"CPU": "abacus", "cores": "2"}, "outcomes": list(outcomes)})


def test_sums_median_and_longest() -> None:
    text = page(outcome("gateway-kill", 0, [0.5, 1.0]), outcome("gateway-kill", 1, [2.5]))
    assert "| gateway-kill | 2 | 20 | 200 | 2000 | 0 | 0 | 0 | 0 | 0 | 0 | 1.00 s | 2.50 s | < 3 s | - |" in text
    assert "something was wrong" not in text
    assert "- CPU: abacus" in text


def test_the_brokers_election_stands_beside_the_stall() -> None:
    assert "| 7.00 s | 7.00 s | < 10 s | 6.50 s |" in page(outcome("leader-kill", 0, [7.0]))


def test_every_fault_has_a_row_even_when_it_was_not_run() -> None:
    text = page(outcome("link-cut", 0, [0.5]))
    for fault in FAULTS:
        assert f"\n| {fault} | " in text
    assert "| leader-kill | 0 | 0 |" in text


def test_a_run_with_a_finding_is_in_its_column_and_named() -> None:
    text = page({**outcome("link-cut", 3, [0.5], lost=2, split=1, late=4), "note": "Somebody looked."})
    assert "| link-cut | 1 | 10 | 100 | 1000 | 2 | 0 | 0 | 0 | 0 | 5 |" in text
    assert "- link-cut run 3: lost 2, split 1, late 4 (1.0s killed n1). Somebody looked." in text


def test_a_stall_over_its_target_is_named_with_the_brokers_share() -> None:
    text = page(
        outcome("leader-kill", 4, [3.0, 11.5]), outcome("leader-kill", 5, [9.9]), outcome("link-cut", 6, [12.0])
    )
    assert "- leader-kill run 4: 11.50 s, of which 6.50 s without a leader" in text
    assert "run 5" not in text
    assert "run 6" not in text
    assert "over their target" not in page(outcome("planned-change", 0, [0.4]))


def test_every_row_has_as_many_cells_as_the_head() -> None:
    rows = [line for line in page(outcome("link-cut", 0, [0.5])).splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
