"""The shapes, and the adapters on the libraries' JSON (their objects: `make test-adapters`)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from holdfast.adapters import (
    UpstreamError,
    anthropic_messages,
    langchain_stream,
    openai_chat,
    openai_responses,
    ui_message_stream,
)
from holdfast.adapters.parts import Part, arguments, finish_reason
from holdfast.adapters.shapes import shape_parts, to_chat, to_ui


async def parts(*given: Part) -> AsyncGenerator[Part, None]:
    for p in given:
        yield p


async def chunks(stream: Any) -> list[dict[str, Any]]:
    return [json.loads(e.data) async for e in stream]


async def test_ui_blocks_open_and_close_where_the_kind_changes() -> None:
    got = await chunks(to_ui(parts(Part("text", "a"), Part("reasoning", "b"), Part("text", "c"), Part("text", "d"))))
    assert [c["type"] for c in got] == [
        *("start", "start-step"),
        *("text-start", "text-delta", "text-end"),
        *("reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-delta", "text-end"),
        *("finish-step", "finish"),
    ]
    assert [c["id"] for c in got if c["type"] == "text-start"] == ["1", "3"]


async def test_ui_result_of_an_unseen_call_gets_its_call() -> None:
    """A resumed graph answers calls of an earlier run; the front end refuses a result without a call."""
    got = await chunks(to_ui(parts(Part("tool-result", id="c", name="add", value=2))))
    assert [c["type"] for c in got][2:4] == ["tool-input-available", "tool-output-available"]


async def test_ui_call_is_announced_once() -> None:
    call = Part("tool-call", id="c", name="add", value={})
    got = await chunks(to_ui(parts(call, call)))
    assert [c["type"] for c in got].count("tool-input-available") == 1


async def test_empty_pieces_are_no_events() -> None:
    """Providers open with an empty piece; an empty event would only cost every viewer a frame."""
    assert [e async for e in to_chat(parts(Part("text", ""), Part("reasoning", "")))] == []
    assert [c["type"] for c in await chunks(to_ui(parts(Part("text", ""))))] == [
        *("start", "start-step", "finish-step", "finish"),
    ]


async def test_ui_usage_travels_with_the_finish() -> None:
    got = await chunks(to_ui(parts(Part("usage", value={"n": 1}), Part("finish", name="max_tokens"))))
    assert got[-1] == {"type": "finish", "finishReason": "length", "messageMetadata": {"usage": {"n": 1}}}


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="no such shape"):
        shape_parts(parts(), "xml")  # type: ignore[arg-type]


def test_broken_arguments_stay_text() -> None:
    assert arguments('{"x": 1') == '{"x": 1'
    assert arguments("") == {}
    assert arguments(None) == {}
    assert arguments({"x": 1}) == {"x": 1}


def test_finish_reasons() -> None:
    assert [finish_reason(r) for r in ("end_turn", "MAX_TOKENS", "tool_use", "odd", None)] == [
        *("stop", "length", "tool-calls", "other", "stop"),
    ]


async def test_the_apis_json_is_read_like_their_objects() -> None:
    """A service that talks to a provider without its SDK has dicts."""
    chat = [
        {"choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {"choices": [{"index": 1, "delta": {"content": "no"}}]},
    ]
    assert [e async for e in openai_chat(chat)] == [(b"hi", "message")]
    response = [{"type": "response.output_text.delta", "delta": "hi", "item_id": "m", "content_index": 0}]
    assert [e async for e in openai_responses(response)] == [(b"hi", "message")]
    message = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}]
    assert [e async for e in anthropic_messages(message)] == [(b"hi", "message")]
    lang = [{"type": "AIMessageChunk", "content": "hi", "id": "1"}, {"type": "human", "content": "no"}]
    assert [e.text async for e in langchain_stream(lang) if e.type == "message"] == ["hi"]


@pytest.mark.parametrize(
    "stream",
    [
        openai_chat([{"error": {"message": "boom", "code": 500}}]),
        openai_responses([{"type": "error", "message": "boom", "code": "x"}]),
        anthropic_messages([{"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}]),
        ui_message_stream([{"type": "error", "errorText": "boom"}], to="chat"),
    ],
)
async def test_an_error_in_the_stream_is_raised(stream: Any) -> None:
    """Compatible servers put errors into the stream; ending there as if all were well would be a lie."""
    with pytest.raises(UpstreamError, match="boom"):
        [e async for e in stream]


async def test_ui_text_that_is_no_stream_is_refused() -> None:
    with pytest.raises(ValueError):
        [e async for e in ui_message_stream(["data: nope\n\n"])]
