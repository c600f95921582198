"""Gaps in a session's log, as its frames tell them."""

from __future__ import annotations

from tests.unit.core.logs import core
from tests.unit.runtime.clients import parse

from holdfast.wire import codec, decode, event
from holdfast_gateway.core.log import ORIGIN
from holdfast_gateway.core.session import SessionCore


def frames(session: SessionCore) -> list[tuple[str, object]]:
    data, mark = b"", ORIGIN
    while mark is not session.log.tail:
        made = session.log.since(mark)
        assert made is not None
        data += made[0].data
        mark = made[1]
    return [(s.event, s.json if s.event.startswith("session.") else s.data) for s in parse(data)[0]]


def test_a_hole_in_the_feed_is_told_once() -> None:
    """Behind it the run has to be learnt anew, which is no second gap."""
    start = codec.start("v-1")
    session = core(decode(1, start.headers, b""))
    session.gap(9)
    draft = codec.data([event("x")], writer="v-1", run=1, index=7)
    session.apply(decode(9, draft.headers, draft.body, previous=8))
    assert frames(session) == [
        ("session.start", {"run": 1}),
        ("session.gap", {"reason": "trimmed", "requested": "m1-1", "earliest": "m1-9", "latest": None}),
        ("message", "x"),
    ]


def test_a_run_found_to_be_older_than_it_seemed_is_told_in_its_place() -> None:
    """Plain data seemed to open it; its writer's next message says that it was open all the time."""
    plain, held = codec.data([event("p")]), codec.data([event("x")], writer="v-1", run=2, index=7)
    session = core(decode(5, plain.headers, plain.body), decode(6, held.headers, held.body, previous=5))
    assert frames(session) == [
        ("message", "p"),
        ("session.gap", {"reason": "trimmed", "requested": None, "earliest": "m1-6", "latest": None}),
        ("message", "x"),
    ]
