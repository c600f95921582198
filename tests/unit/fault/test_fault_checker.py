"""The judge itself on trial: a clean record passes, and each kind of fault planted in it is found as that kind."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.faults.checker import judge as judge_module
from bench.faults.checker.judge import KINDS, Verdict, judge, judge_directory
from bench.faults.checker.records import Evidence, Expected, Frame, read_producer, read_viewers

SESSION = "chat-1"
EVENTS = 6
Row = dict[str, object]


def produced(run: int = 1, *, acked: int = EVENTS, sent: int = EVENTS, ended: str | None = "session.end") -> list[Row]:
    """The journal of a producer: one event each 0.1 s from t = run * 100, acked 0.01 s after it was written."""
    here: Row = {"session": SESSION, "run": run, "part": 0}
    rows: list[Row] = []
    for index in range(sent):
        at = run * 100 + index / 10
        rows.append({**here, "kind": "sent", "at": at, "index": index, "payload": f"r{run}e{index}"})
        if index < acked:
            rows.append({**here, "kind": "acked", "at": at + 0.01, "first": index, "last": index})
    if ended:
        rows.append({**here, "kind": "ended", "at": run * 100 + sent / 10 + 0.01, "type": ended})
    return rows


def frame(at: float, type_: str, id_: str | None, data: str = "{}") -> Row:
    return {"kind": "frame", "viewer": "v", "at": at, "type": type_, "id": id_, "data": data}


def viewed(name: str = "v", run: int = 1, role: str = "steady") -> list[Row]:
    """A viewer's clean record: start, six events 0.02 s after they were written, the end, 204."""
    rows = [
        {"kind": "viewer", "at": run * 100 - 1, "session": SESSION, "role": role},
        {"kind": "opened", "at": run * 100 - 0.5},
        frame(run * 100 - 0.1, "session.start", "i-1"),
    ]
    rows += [frame(run * 100 + n / 10 + 0.02, "message", f"i-{n + 2}", f"r{run}e{n}") for n in range(EVENTS)]
    rows.append(frame(run * 100 + EVENTS / 10 + 0.02, "session.end", f"i-{EVENTS + 2}"))
    rows.append({"kind": "finished", "at": run * 100 + 2, "why": "status 204"})
    return [{**row, "viewer": name} for row in rows]


def verdict_on(*journals: list[Row], producers: list[Row] | None = None, expected: Expected | None = None) -> Verdict:
    evidence = Evidence()
    read_producer(evidence, produced() if producers is None else producers)
    for journal in journals:
        read_viewers(evidence, journal)
    if expected:
        evidence.expected.append(expected)
    return judge(evidence)


def planted(change: Callable[[list[Row]], object]) -> Verdict:
    """A clean viewer beside one whose record was changed."""
    changed = viewed("changed")
    change(changed)
    return verdict_on(viewed("clean"), [{**row, "viewer": "changed"} for row in changed])


def only(kind: str, count: int = 1) -> dict[str, int]:
    return {**dict.fromkeys(KINDS, 0), kind: count}


FIRST_EVENT, THIRD_EVENT, LAST_EVENT, END, FINISHED = 3, 5, 8, 9, 10


def test_a_clean_record_passes_with_its_figures() -> None:
    verdict = verdict_on(viewed("a"), viewed("b"))
    assert verdict.findings == []
    assert (verdict.viewers, verdict.events, verdict.deliveries) == (2, EVENTS, 2 * EVENTS)


@pytest.mark.parametrize("position", [FIRST_EVENT, THIRD_EVENT, LAST_EVENT])
def test_a_lost_event_is_found_wherever_it_stood(position: int) -> None:
    verdict = planted(lambda rows: rows.pop(position))
    assert verdict.counts == only("lost")
    assert verdict.findings[0].viewer == "changed"


def test_a_lost_start_is_found() -> None:
    assert planted(lambda rows: rows.pop(2)).counts == only("lost")


def test_an_event_doubled_under_its_own_id_is_found() -> None:
    assert planted(lambda rows: rows.insert(THIRD_EVENT + 1, dict(rows[THIRD_EVENT]))).counts == only("doubled")


def test_an_event_doubled_under_another_id_is_found() -> None:
    verdict = planted(lambda rows: rows.insert(THIRD_EVENT + 1, {**rows[THIRD_EVENT], "id": "i-4.7"}))
    assert verdict.counts["doubled"] == 1


def test_a_doubled_terminal_is_found() -> None:
    assert planted(lambda rows: rows.insert(END, dict(rows[END]))).counts == only("doubled")
    again = planted(lambda rows: rows.insert(END + 1, {**rows[END], "id": "i-99"}))
    assert again.counts == only("after_end")


def test_a_whole_replay_after_a_resume_is_found() -> None:
    verdict = planted(lambda rows: rows.__setitem__(slice(THIRD_EVENT, THIRD_EVENT), rows[FIRST_EVENT:THIRD_EVENT]))
    assert verdict.counts == only("doubled", THIRD_EVENT - FIRST_EVENT)


def test_swapped_events_are_found_by_place_and_by_id() -> None:
    def swap(rows: list[Row]) -> None:
        rows[THIRD_EVENT], rows[THIRD_EVENT + 1] = rows[THIRD_EVENT + 1], rows[THIRD_EVENT]

    def swap_data_only(rows: list[Row]) -> None:
        swap(rows)
        rows[THIRD_EVENT]["id"], rows[THIRD_EVENT + 1]["id"] = rows[THIRD_EVENT + 1]["id"], rows[THIRD_EVENT]["id"]

    for change in (swap, swap_data_only):
        verdict = planted(change)
        assert verdict.counts["reordered"] >= 1
        assert verdict.counts["lost"] == verdict.counts["doubled"] == 0


@pytest.mark.parametrize("data", ["r1e99", "", "r1e1r1e2", "r1e"])
def test_an_invented_event_is_found(data: str) -> None:
    verdict = planted(lambda rows: rows.insert(THIRD_EVENT, frame(100.2, "message", "i-4.0", data)))
    assert verdict.counts == only("invented")


def test_an_event_of_another_session_is_invented_here() -> None:
    other = [{**row, "session": "chat-2"} for row in produced(2)]
    verdict = verdict_on(
        [*viewed()[:-2], {**frame(100.7, "message", "i-8", "r2e0"), "viewer": "v"}, *viewed()[-1:]],
        producers=[*produced(), *other],
    )
    assert verdict.counts["invented"] == 1


@pytest.mark.parametrize("id_", [None, "", "7", "i-", "i-x", "i-3.", "i-3.1.1"])
def test_data_without_a_right_id_is_invented(id_: str | None) -> None:
    verdict = planted(lambda rows: rows[THIRD_EVENT].update(id=id_))
    assert verdict.counts["invented"] == 1


def test_hints_carry_no_id_and_unknown_control_events_are_invented() -> None:
    told = '{"state":"lost"}'
    good = planted(lambda rows: rows.insert(THIRD_EVENT, frame(100.1, "session.producer", None, told)))
    assert good.findings == []
    for forged in (frame(100.1, "session.producer", "i-4.0", told), frame(100.1, "session.surprise", "i-4.0")):
        assert planted(lambda rows, f=forged: rows.insert(THIRD_EVENT, f)).counts == only("invented")


def test_a_missing_terminal_is_unended() -> None:
    assert planted(lambda rows: rows.pop(END)).counts == only("unended")


def test_a_viewer_that_is_not_told_to_stop_is_unended() -> None:
    assert planted(lambda rows: rows.pop(FINISHED)).counts == only("unended")
    gave_up = {"kind": "gave up", "at": 200.0, "why": "still waiting"}
    assert planted(lambda rows: rows.__setitem__(FINISHED, gave_up)).counts == only("unended")
    refused = {"kind": "finished", "at": 200.0, "why": "status 503"}
    assert planted(lambda rows: rows.__setitem__(FINISHED, refused)).counts == only("unended")


def test_a_viewer_stopped_before_the_end_is_unended_and_lost_the_rest() -> None:
    verdict = planted(lambda rows: rows.__delitem__(slice(THIRD_EVENT, FINISHED)))
    assert verdict.counts == {**only("unended"), "lost": EVENTS - 2}


def test_a_viewer_that_never_attached_lost_all_and_is_unended() -> None:
    verdict = planted(lambda rows: rows.__delitem__(slice(1, None)))
    assert verdict.counts == {**only("unended"), "lost": EVENTS}


def test_data_after_the_terminal_is_found() -> None:
    def move_behind(rows: list[Row]) -> None:
        rows.insert(END, {**rows.pop(LAST_EVENT), "id": "i-99"})

    verdict = planted(move_behind)
    assert verdict.counts["after_end"] == 1


def test_a_terminal_that_is_not_the_writers_is_invented() -> None:
    assert planted(lambda rows: rows[END].update(type="session.failed")).counts["invented"] == 1


def test_an_unacked_event_may_be_missing_for_all_or_there_for_all() -> None:
    uncertain = produced(acked=EVENTS - 1, ended=None)
    without = [viewed("a"), viewed("b")]
    for rows in without:
        rows.pop(LAST_EVENT)
    assert verdict_on(*without, producers=uncertain).findings == []
    assert verdict_on(viewed("a"), viewed("b"), producers=uncertain).findings == []


def test_an_unacked_event_that_only_some_see_is_lost_for_the_others() -> None:
    without = viewed("without")
    without.pop(LAST_EVENT)
    verdict = verdict_on(viewed("with"), without, producers=produced(acked=EVENTS - 1, ended=None))
    assert verdict.counts == only("lost")
    assert verdict.findings[0].viewer == "without"


def test_a_gap_told_where_nothing_was_trimmed_is_found() -> None:
    verdict = planted(lambda rows: rows.insert(THIRD_EVENT, frame(100.1, "session.gap", None, '{"reason":"trimmed"}')))
    assert verdict.counts == only("gap")


def test_different_ids_for_one_event_or_one_terminal_are_a_split() -> None:
    assert planted(lambda rows: rows[THIRD_EVENT].update(id="i-4.3")).counts == only("split")
    assert planted(lambda rows: rows[END].update(id="i-99")).counts == only("split")
    assert planted(lambda rows: rows[2].update(id="i-0")).counts == only("split")


def test_a_vanished_viewer_is_owed_a_prefix_without_holes() -> None:
    rows = viewed("gone", role="vanished")[:THIRD_EVENT]
    assert verdict_on(viewed("a"), rows).findings == []
    holed = [row for n, row in enumerate(viewed("gone", role="vanished")[:LAST_EVENT]) if n != THIRD_EVENT]
    assert verdict_on(viewed("a"), holed).counts == only("lost")


def test_a_rude_viewer_is_owed_everything_but_is_not_timed() -> None:
    late = [{**row, "at": float(str(row["at"])) + 60} for row in viewed("rude", role="rude")]
    verdict = verdict_on(viewed("a"), late)
    assert verdict.findings == []
    assert len(verdict.stalls.longest) == 1
    late.pop(LAST_EVENT)
    assert verdict_on(viewed("a"), late).counts == only("lost")


def second_run(rows: list[Row], terminal: str, reason: str, superseding_id: str = "i-9.0") -> list[Row]:
    """Run 1 closed by another writer's start, then run 2 to its end."""
    rows = rows[:END]
    rows.append(frame(101.0, terminal, superseding_id, json.dumps({"reason": reason})))
    rows.append(frame(101.0, "session.start", "i-9.1"))
    rows += [frame(200 + n / 10 + 0.02, "message", f"i-{n + 10}", f"r2e{n}") for n in range(EVENTS)]
    rows.append(frame(200.7, "session.end", "i-16"))
    rows.append({"kind": "finished", "at": 202.0, "why": "status 204"})
    return [{**row, "viewer": "v"} for row in rows]


def test_a_superseded_run_and_the_next_are_judged_run_by_run() -> None:
    both = [*produced(1, ended=None), *produced(2)]
    told = Expected(SESSION, 1, "session.failed", "superseded", 100.9, 2.0)
    assert (
        verdict_on(second_run(viewed(), "session.failed", "superseded"), producers=both, expected=told).findings == []
    )
    wrong = verdict_on(second_run(viewed(), "session.failed", "producer_lost"), producers=both, expected=told)
    assert wrong.counts == only("invented")
    unended = [row for row in second_run(viewed(), "session.failed", "superseded") if row.get("id") != "i-9.0"]
    assert verdict_on(unended, producers=both).counts == only("unended")
    assert verdict_on(viewed(), producers=both).counts["unended"] == 1


def test_the_woken_writer_of_a_closed_run_is_found_when_it_still_writes() -> None:
    both = [*produced(1, sent=EVENTS + 1, ended=None), *produced(2)]
    rows = second_run(viewed(), "session.failed", "superseded")
    rows.insert(-3, {**frame(200.4, "message", "i-13.5", f"r1e{EVENTS}"), "viewer": "v"})
    assert verdict_on(rows, producers=both).counts["after_end"] == 1


def test_a_terminal_later_than_its_bound_is_late() -> None:
    dead = produced(ended=None)
    rows = viewed()
    rows[END].update(type="session.failed", data='{"reason":"producer_lost"}')
    for bound, kind in ((2.0, None), (0.1, "late")):
        expected = Expected(SESSION, 1, "session.failed", "producer_lost", 100.3, bound)
        verdict = verdict_on(rows, producers=dead, expected=expected)
        assert verdict.counts == (only(kind) if kind else dict.fromkeys(KINDS, 0))


def test_a_lost_producer_that_viewers_are_not_told_of_in_time_is_late() -> None:
    told = Expected(SESSION, 1, "session.producer", "lost", 100.1, 1.0)
    hint = {**frame(100.3, "session.producer", None, '{"state":"lost"}'), "viewer": "v"}
    late = [*viewed()[:FINISHED], {**hint, "at": 102.0}]
    other = [*viewed()[:THIRD_EVENT], {**hint, "data": '{"state":"back"}'}, *viewed()[THIRD_EVENT:]]
    assert verdict_on([*viewed()[:THIRD_EVENT], hint, *viewed()[THIRD_EVENT:]], expected=told).findings == []
    for rows in (viewed(), other, [*late, *viewed()[FINISHED:]]):
        assert verdict_on(rows, expected=told).counts == only("late")
    assert verdict_on(viewed("r", role="rude"), expected=told).findings == []


def refused(error: str) -> Row:
    return {"kind": "refused", "at": 200.0, "session": SESSION, "run": 1, "part": 0, "error": error}


def test_a_woken_writer_that_is_not_told_is_unfenced_and_a_healthy_one_may_not_be_refused() -> None:
    def told(*rows: Row, fenced: bool) -> dict[str, int]:
        evidence = Evidence()
        read_producer(evidence, [*produced(ended=None), *rows])
        read_viewers(evidence, viewed())
        if fenced:
            evidence.fenced.add((SESSION, 1))
        return judge(evidence).counts

    assert told(refused("SessionFenced"), fenced=True) == dict.fromkeys(KINDS, 0)
    assert told(fenced=True) == only("unfenced")
    assert told(refused("Uncertain"), fenced=True) == only("unfenced")
    assert told(refused("SessionFenced"), fenced=False) == only("unended")


def test_stalls_are_measured_from_what_was_already_written() -> None:
    quiet = viewed("quiet")
    for row in quiet[LAST_EVENT : END + 1]:  # written at 100.5, received at 103.5, three seconds after it was due
        row["at"] = 103.5
    verdict = verdict_on(quiet)
    assert verdict.findings == []
    assert verdict.stalls.longest == [pytest.approx(3.0, abs=0.05)]
    assert verdict.stalls.after_ack == [pytest.approx(2.99, abs=0.05)]


def test_a_silent_producer_is_no_stall() -> None:
    rows = [{**row, "at": float(str(row["at"])) + (50 if row.get("index") == EVENTS - 1 else 0)} for row in produced()]
    waited = viewed()
    for row in waited[LAST_EVENT:]:
        row["at"] = float(str(row["at"])) + 50
    assert max(verdict_on(waited, producers=rows).stalls.longest) < 0.2


def test_nothing_stored_nothing_delivered_or_nobody_watching_is_no_pass() -> None:
    assert verdict_on(viewed(), producers=[]).counts["empty"] >= 1
    assert verdict_on().counts["empty"] >= 1
    assert judge(Evidence()).counts["empty"] == 1


def test_two_payloads_that_could_not_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        verdict_on(viewed(), producers=[*produced(), *produced()])


def test_records_are_read_from_files_and_a_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "producer-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in produced()) + '{"kind":"se')
    (tmp_path / "viewer-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in viewed()))
    (tmp_path / "expected.jsonl").write_text(
        json.dumps({"kind": "untimed", "session": SESSION})
        + "\n"
        + json.dumps(
            {
                "kind": "expected",
                "session": SESSION,
                "run": 1,
                "type": "session.failed",
                "reason": "producer_lost",
                "after": 100.0,
                "within_seconds": 9.0,
            }
        )
        + "\n"
    )
    verdict = judge_directory(tmp_path)
    assert verdict.counts == only("invented")
    assert verdict.stalls.longest == []


def test_the_frame_order_inside_a_coalesced_message_is_item_by_item_then_the_whole() -> None:
    rows = viewed()
    for n, id_ in enumerate(["i-2.0", "i-2.1", "i-2.2", "i-2", "i-3", "i-4"]):
        rows[FIRST_EVENT + n]["id"] = id_
    assert verdict_on(rows).findings == []
    rows[FIRST_EVENT]["id"], rows[FIRST_EVENT + 3]["id"] = "i-2", "i-2.0"
    assert verdict_on(rows).counts["reordered"] >= 1


def test_the_judge_and_the_viewers_import_nothing_of_the_system_under_test() -> None:
    package = Path(judge_module.__file__).parent
    files = [*package.glob("*.py"), *(package.parent / f"{name}.py" for name in ("viewer", "eventsource", "journal"))]
    files += [package.parent / "http_response.py", package.parent / "stdin_lines.py"]
    imported = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    assert len(files) > 9
    assert not [name for name in imported if name.split(".")[0] in ("holdfast", "holdfast_gateway", "nats", "httpx")]
    allowed = tuple(f"bench.faults.{own}" for own in ("checker", "viewer", "eventsource", "journal", "http_", "stdin_"))
    assert all(name.startswith(allowed) for name in imported if name.startswith("bench"))


def test_frames_keep_their_receive_time() -> None:
    evidence = Evidence()
    read_viewers(evidence, viewed())
    assert evidence.viewed["v"].frames[0] == Frame(99.9, "session.start", "i-1", "{}")
