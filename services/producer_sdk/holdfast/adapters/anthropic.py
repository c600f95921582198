"""The Anthropic SDK's streams: `messages.create(stream=True)` and the `messages.stream()` helper, async or sync."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from holdfast.adapters.parts import Part, UpstreamError, arguments, get, text
from holdfast.adapters.shapes import Shape, shape_parts
from holdfast.adapters.sources import Source, iterate
from holdfast.adapters.values import as_event
from holdfast.wire.event import Event

_RAW: Final = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}
"""What the API sends. The helper adds events of its own (`text`, `input_json`) that say the same once more."""


def anthropic_messages(
    stream: Source, *, to: Shape = "chat", message_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of a message stream; the helper's context manager may be given unopened.

    `native`: each event under its own name (`content_block_delta`), its data the JSON, as Anthropic's API sends it.

    Raises:
        UpstreamError: the stream carried an `error` event.
    """
    return _native(stream) if to == "native" else shape_parts(message_parts(stream), to, message_id=message_id)


async def _raw(stream: Source) -> AsyncGenerator[Any, None]:
    async with aclosing(iterate(stream)) as events:
        async for e in events:
            kind = text(e, "type")
            if kind == "error":
                raise UpstreamError(text(e, "error", "message") or "the message failed", text(e, "error", "type"))
            if kind in _RAW:
                yield e


async def _native(stream: Source) -> AsyncGenerator[Event, None]:
    async with aclosing(_raw(stream)) as events:
        async for e in events:
            yield as_event(e, text(e, "type"))


async def message_parts(stream: Source) -> AsyncGenerator[Part, None]:
    """The message's parts. A tool's arguments are complete at its block's end."""
    blocks: dict[int, tuple[Any, list[str]]] = {}
    usage: dict[str, Any] = {}
    sources = 0
    async with aclosing(_raw(stream)) as events:
        async for e in events:
            kind, index = text(e, "type"), get(e, "index") or 0
            if kind == "message_start":
                usage.update(_counts(get(e, "message", "usage")))
            elif kind == "content_block_start":
                block = get(e, "content_block")
                blocks[index] = (block, [])
                for part in _opened(block, index):
                    yield part
            elif kind == "content_block_delta":
                delta = get(e, "delta")
                match text(delta, "type"):
                    case "text_delta":
                        yield Part("text", text(delta, "text"), str(index))
                    case "thinking_delta":
                        yield Part("reasoning", text(delta, "thinking"), str(index))
                    case "input_json_delta" if index in blocks:
                        blocks[index][1].append(text(delta, "partial_json"))
                        yield Part("tool-delta", text(delta, "partial_json"), text(blocks[index][0], "id"))
                    case "citations_delta" if url := text(delta, "citation", "url"):
                        sources += 1
                        title = text(delta, "citation", "title")
                        yield Part("source", id=f"source-{sources}", value={"url": url, "title": title})
            elif kind == "content_block_stop" and index in blocks:
                block, pieces = blocks.pop(index)
                if text(block, "type").endswith("tool_use"):
                    value = arguments("".join(pieces)) if pieces else get(block, "input")
                    yield Part("tool-call", id=text(block, "id"), name=text(block, "name"), value=value or {})
            elif kind == "message_delta":
                usage.update(_counts(get(e, "usage")))
                if reason := text(e, "delta", "stop_reason"):
                    yield Part("usage", value=usage)
                    yield Part("finish", name=reason)


def _opened(block: Any, index: int) -> list[Part]:
    kind = text(block, "type")
    if kind == "text":
        return [Part("text", text(block, "text"), str(index))]
    if kind == "thinking":
        return [Part("reasoning", text(block, "thinking"), str(index))]
    if kind.endswith("tool_use"):
        return [Part("tool-start", id=text(block, "id"), name=text(block, "name"))]
    if kind.endswith("_tool_result"):
        call, name = text(block, "tool_use_id"), kind.removesuffix("_tool_result")
        content = get(block, "content")
        if text(content, "type").endswith("_error"):
            return [Part("tool-error", text(content, "error_code") or "failed", call, name)]
        return [Part("tool-result", id=call, name=name, value=content)]
    return []


def _counts(usage: Any) -> dict[str, int]:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return {n: v for n in names if isinstance(v := get(usage, n), int)}
