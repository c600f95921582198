"""Results: what is written can be read again, and what is read is ours."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench import machine
from bench.placement import placements
from bench.report import markdown, peak
from bench.results import Results, ResultsError, Row, ratio
from bench.summary import update
from bench.svg import picture

_KEPT = Row("b", "1000 viewers, 40 ev/s", "holdfast", "together", 100, 1.0, 40_000.0, 1.0, 2.0, 3.0, 4.0)
_LOST = Row("b", "1000 viewers, 50 ev/s", "holdfast", "together", 100, 0.9, 45_000.0, 1.0, 2.0, 3.0, 4.0)
_LATE = Row("b", "1000 viewers, 60 ev/s", "holdfast", "together", 100, 1.0, 60_000.0, 1.0, 2.0, 300.0, 400.0)
_IDLE = Row("e", "10 idle viewers", "nchan", "together", extra={"kib_per_viewer": 9.5})
_PEER = Row("a", "100 viewers", "nchan", "together", 200, 1.0, 5000.0, 1.0, 2.0, 4.0, 5.0, {"nginx": 0.5})
_OURS = Row("a", "100 viewers", "holdfast", "together", 200, 1.0, 5000.0, 1.0, 2.0, 3.0, 5.0, {"gateway": 0.5})


@pytest.fixture
def results() -> Results:
    """A run with a row of most kinds."""
    rows = [_KEPT, _LOST, _LATE, _IDLE, _OURS, _PEER]
    return Results(
        "short", "2026-11-22", machine.facts(), {"holdfast": "1", "nchan": "2"}, {"nchan/h": "no"}, [0.1], rows
    )


def test_results_come_back_as_they_were(results: Results) -> None:
    """JSON loses nothing."""
    assert Results.from_json(results.to_json()) == results


@pytest.mark.parametrize(
    "change",
    [{"schema": 0}, {"rows": [{"cell": "a"}]}, {"unknown": 1}, {"rows": [{"cell": "a", "p50": 3}]}],
)
def test_foreign_or_broken_files_are_refused(results: Results, change: dict[str, object]) -> None:
    """A missing or unknown field is said, not guessed."""
    with pytest.raises(ResultsError):
        Results.from_json(json.dumps({**json.loads(results.to_json()), **change}))


def test_every_committed_result_is_of_this_schema() -> None:
    """What the documentation quotes can be rendered again."""
    found = sorted((Path(machine.__file__).parent / "results").glob("*.json"))
    for path in found:
        assert Results.from_json(path.read_text()).rows


def test_machine_facts_name_no_path_and_no_host() -> None:
    """Results are published: nothing about whose machine it was."""
    facts = machine.facts()
    text = json.dumps({key: value for key, value in facts.items() if key != "cpu"})
    assert "/" not in text
    assert set(facts) == {"cpu", "cores", "memory_gib", "kernel", "python", "packages"}


def test_only_rates_that_were_kept_up_count_as_the_peak() -> None:
    """Losing one event in a hundred, a p99 of 300 ms, or a producer held up for 400 ms is not keeping up."""
    held_up = dataclasses.replace(_KEPT, events_per_second=70_000.0, extra={"producer_late_ms": 400.0})
    assert peak([_KEPT, _LOST, _LATE, held_up]) == {("b", "holdfast", "together"): 40_000.0}


def test_the_table_has_our_ratio_to_the_peer_in_the_same_cell(results: Results) -> None:
    """3 ms of ours against 4 ms of theirs is 0.75."""
    line = next(line for line in markdown(results).splitlines() if line.startswith("| nchan | together | 100"))
    assert "| 0.75 |" in line
    assert "nchan/h: no" in markdown(results)


def test_ratios_of_nothing_are_nothing() -> None:
    """No division by a figure that is not there."""
    assert ratio(3.0, 4.0) == 0.75
    assert ratio(None, 4.0) is None
    assert ratio(3.0, 0.0) is None


def test_the_picture_is_well_formed_and_has_a_bar_for_each_figure(results: Results) -> None:
    """It parses as XML; rows of cells a, b and e have their bars."""
    root = ET.fromstring(picture(results))
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 1 + 2 + 1 + 1  # background, cell a, most of cell b, cell e


def test_one_core_is_not_enough() -> None:
    """The load client must not share the system's core."""
    with pytest.raises(ValueError):
        placements(frozenset({0}))
    two = placements(frozenset({0, 1}))
    assert two["together"].system == two["together"].backing == {0}
    assert two["apart"].backing == two["apart"].load == {1}
    three = placements(frozenset({0, 1, 2}))
    assert (three["apart"].system, three["apart"].backing, three["apart"].load) == ({0}, {1}, {2})


def test_the_summary_goes_between_its_marks_and_again(results: Results, tmp_path: Path) -> None:
    """A page's figures are the file's; what stands around them stays; a second time changes nothing."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nyesterday\n<!-- end of figures -->\nafter\n")
    update(page, results, "short")
    once = page.read_text()
    update(page, results, "short")
    assert page.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "yesterday" not in once
    assert "| holdfast | together | - | - | 40.0 |" in once
    assert "| nchan | together | - | - | - | - | - | - | 9.5 |" in once
    page.write_text("no marks")
    with pytest.raises(ValueError):
        update(page, results, "short")
