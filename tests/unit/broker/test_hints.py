"""Heartbeat hints: per process, bounded, forgotten with the connection."""

from __future__ import annotations

import asyncio

from holdfast_gateway.broker.jetstream import hints
from holdfast_gateway.broker.jetstream.hints import Hints


async def test_the_processes_remembered_are_bounded_and_the_longest_silent_go_first(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Anyone may forge hints; that must not cost memory."""
    monkeypatch.setattr(hints, "MAX_PROCESSES", 3)
    heard = Hints("hf")
    for token in (b"a", b"b", b"a", b"c", b"d"):
        heard.on_hint(b"hfc.w." + token, None, b"")
    now = asyncio.get_running_loop().time()
    assert [heard.silent_seconds(f"{t}-1", now) is not None for t in "abcd"] == [True, False, True, True]
    heard.forget()
    assert heard.silent_seconds("a-1", now) is None


async def test_a_token_that_is_no_text_is_harmless() -> None:
    heard = Hints("hf")
    heard.on_hint(b"hfc.w.\xff\xfe", None, b"")
    assert heard.silent_seconds("a-1", 0.0) is None
