"""The run in one piece."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given
from tests.unit.core.logs import Script

from holdfast.wire import NEW, Event, RunState, codec, step
from holdfast_gateway.core.snapshot import SnapshotBuilder


def built(
    script: Script, limit: int = 1 << 20, state: RunState = NEW, skip: int = 0
) -> tuple[SnapshotBuilder, RunState]:
    builder = SnapshotBuilder(limit)
    for n, record in enumerate(script.records):
        state, outputs = step(state, record)
        if n >= skip:
            builder.take(record, outputs, state)
    return builder, state


def test_adjacent_text_of_one_type_is_joined() -> None:
    script = Script()
    script.start()
    script.say("a", "b")
    script.say("c")
    script.say("t", type="tool")
    script.say("d")
    builder, state = built(script)
    assert builder.usable(state)
    want = {
        "from": "m1-2",
        "to": "m1-10",
        "parts": [
            {"event": "message", "data": "abc"},
            {"event": "tool", "data": "t"},
            {"event": "message", "data": "d"},
        ],
    }
    assert builder.body("m1") == want
    assert builder.body("m1") == want, "asking again changes nothing"


def test_the_terminal_is_told_behind_it() -> None:
    script = Script()
    script.start()
    script.say("a")
    script.end()
    builder, state = built(script)
    assert builder.usable(state)
    assert builder.body("m1")["to"] == "m1-4"


def test_reset_drops_what_was_said() -> None:
    script = Script()
    script.start()
    script.say("wrong")
    script.add(codec.reset("w", script.run, index=1))
    builder, _ = built(script)
    assert builder.body("m1") == {"from": "m1-2", "to": "m1-6", "parts": []}
    script.say("right")
    builder, _ = built(script)
    assert builder.body("m1")["parts"] == [{"event": "message", "data": "right"}]


def test_a_new_run_begins_anew_and_lost_producers_change_nothing() -> None:
    script = Script()
    script.start()
    script.say("old")
    script.end()
    script.start()
    script.say("new")
    script.add(codec.lost(script.run))
    builder, state = built(script)
    body = builder.body("m1")
    assert (body["from"], body["to"]) == ("m1-8", "m1-10")
    assert body["parts"] == [{"event": "message", "data": "new"}]
    assert builder.usable(state)


def test_no_run_no_snapshot() -> None:
    script = Script()
    script.add(codec.cancelled("later"))
    builder, state = built(script)
    assert not builder.usable(state)


def test_a_run_cancelled_at_its_start_has_only_its_end() -> None:
    script = Script()
    script.add(codec.cancelled("stop-me"))
    script.start(name="stop-me")
    builder, state = built(script)
    assert not builder.usable(state)


def test_a_run_whose_opening_is_gone_says_so() -> None:
    script = Script()
    script.start()
    script.say("a")
    script.say("b")
    builder = SnapshotBuilder(1000)
    state, outputs = step(NEW, script.records[2])
    builder.take(script.records[2], outputs, state)
    assert builder.body("m1")["incomplete"] is True
    builder.gap()
    assert builder.usable(state)


def test_too_large_is_said_until_the_run_is_reset() -> None:
    script = Script()
    script.start()
    script.say("x" * 600)
    script.say("x" * 600)
    script.say("more")
    builder, state = built(script, limit=1000)
    assert builder.too_large
    assert not builder.usable(state)
    script.add(codec.reset("w", script.run, index=3))
    script.say("short")
    builder, state = built(script, limit=1000)
    assert builder.usable(state)


@given(st.lists(st.tuples(st.binary(max_size=6), st.sampled_from(["message", "tool"])), max_size=12))
def test_joined_text_is_what_a_viewer_would_have_joined(said: list[tuple[bytes, str]]) -> None:
    script = Script()
    script.start()
    for data, type in said:
        script.add(codec.data([Event(data, type)], writer="w", run=script.run))
    builder, _ = built(script)
    parts = builder.body("m1")["parts"]
    assert "".join(p["data"] for p in parts) == "".join(Event(data).text for data, _ in said)
    assert all(a["event"] != b["event"] for a, b in pairwise(parts))
