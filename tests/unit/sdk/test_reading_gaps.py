"""A reader whose log lost its middle while it read: told once, and nothing of what is left is lost."""

from __future__ import annotations

import json
from typing import Any

from holdfast.log import Place
from holdfast.reading import StreamEvent, _Reader
from holdfast.wire import Draft, Namespace, SessionKey, codec, decode, event

KEY = SessionKey.of("s")


class Nowhere:
    """A log of which only the place is asked."""

    servers = ("nats://nowhere",)

    def place(self, key: SessionKey) -> Place:
        namespace = Namespace(1)
        return Place(key, namespace.stored(key), namespace.live(key), "HOLDFAST_0_i", "i")


def read(log: list[tuple[int, int | None, Draft]]) -> list[tuple[str, Any]]:
    reader = _Reader(Nowhere(), KEY, None)  # type: ignore[arg-type]
    told: list[StreamEvent] = []
    for sequence, previous, draft in log:
        told += reader._take(decode(sequence, draft.headers, draft.body, previous=previous))
    return [(e.type, json.loads(e.data) if e.control else e.text) for e in told]


def gap(requested: str | None, earliest: str) -> tuple[str, Any]:
    return "session.gap", {"reason": "trimmed", "requested": requested, "earliest": earliest, "latest": None}


def test_the_next_runs_data_counts_though_its_start_is_gone() -> None:
    """Behind a gap nothing is known of the run: what was known may have ended there."""
    log = [
        (1, 0, codec.start("v-1")),
        (2, 1, codec.data([event("a")], writer="v-1", run=1)),
        (9, 8, codec.data([event("b")], writer="w-1", run=7, index=4)),
        (10, 9, codec.end("w-1", 7, index=5)),
    ]
    assert read(log) == [
        ("session.start", {"run": 1}),
        ("message", "a"),
        gap("i-2", "i-9"),
        ("message", "b"),
        ("session.end", {"run": 7}),
    ]


def test_the_same_run_goes_on_behind_a_gap() -> None:
    log = [
        (1, 0, codec.start("v-1")),
        (5, 4, codec.data([event("b")], writer="v-1", run=1, index=4)),
    ]
    assert read(log) == [("session.start", {"run": 1}), gap("i-1", "i-5"), ("message", "b")]


def test_a_log_without_its_beginning_is_told_once() -> None:
    log = [(5, 4, codec.data([event("b")], writer="v-1", run=1, index=4))]
    assert read(log) == [gap(None, "i-5"), ("message", "b")]
