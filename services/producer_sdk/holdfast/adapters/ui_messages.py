"""AI SDK UI message streams made elsewhere: by a Node service, by pydantic-ai's or LangChain's own UI adapters.

Chunks come as dicts, models, JSON text, or as the lines of the server-sent events they were already written in.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from holdfast.adapters.parts import Part, UpstreamError, arguments, get, text
from holdfast.adapters.shapes import Shape, shape_parts
from holdfast.adapters.sources import Source, iterate
from holdfast.adapters.values import to_json
from holdfast.wire.event import Event, event


def ui_message_stream(
    stream: Source, *, to: Shape = "ui", message_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of a UI message stream. `ui` and `native`, the default, pass the chunks on as they are, one event each.

    Raises:
        UpstreamError: the stream carried an `error` chunk; it was passed on before.
        ValueError: text that is neither JSON nor server-sent events of JSON.
    """
    if to == "chat":
        return shape_parts(ui_parts(stream), to, message_id=message_id)
    return _passed_on(stream)


async def _passed_on(stream: Source) -> AsyncGenerator[Event, None]:
    async with aclosing(_chunks(stream)) as chunks:
        async for chunk in chunks:
            yield event(to_json(chunk))
            if chunk.get("type") == "error":
                raise UpstreamError(text(chunk, "errorText"))


async def _chunks(stream: Source) -> AsyncGenerator[dict[str, Any], None]:
    """The stream's chunks as dicts, whatever they came in. `[DONE]` is dropped: the run's end says it."""
    rest = ""
    decoder = codecs.getincrementaldecoder("utf-8")()
    async with aclosing(iterate(stream)) as items:
        async for item in items:
            if isinstance(item, bytes):
                item = decoder.decode(item)
            if isinstance(item, str):
                if not rest and item.lstrip().startswith("{"):
                    yield json.loads(item)
                    continue
                # An HTTP body's pieces end anywhere, so a line is read when its end is there.
                *lines, rest = (rest + item).replace("\r\n", "\n").split("\n")
                for line in lines:
                    if (chunk := _line(line)) is not None:
                        yield chunk
            elif isinstance(item, dict):
                yield item
            elif (chunk := _model(item)) is not None:
                yield chunk
    if (chunk := _line(rest)) is not None:
        yield chunk


def _line(line: str) -> dict[str, Any] | None:
    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
    if not data or data == "[DONE]":
        return None
    chunk = json.loads(data)
    if not isinstance(chunk, dict):
        raise ValueError("a UI message chunk is a JSON object")
    return chunk


def _model(item: Any) -> dict[str, Any] | None:
    # pydantic-ai's chunk models are snake_case in Python; their own `encode` writes the protocol's names.
    encode = getattr(item, "encode", None)
    if callable(encode):
        return _line("data:" + str(encode(sdk_version=6) if _takes_version(encode) else encode()))
    chunk = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not isinstance(chunk, dict):
        raise TypeError(f"{type(item).__qualname__} is not a UI message chunk")
    return chunk


def _takes_version(encode: Any) -> bool:
    code = getattr(getattr(encode, "__func__", encode), "__code__", None)
    return code is not None and "sdk_version" in code.co_varnames


async def ui_parts(stream: Source) -> AsyncGenerator[Part, None]:
    """What the chunks say, for front ends that are not the AI SDK's."""
    names: dict[str, str] = {}
    async with aclosing(_chunks(stream)) as chunks:
        async for c in chunks:
            call = text(c, "toolCallId")
            if text(c, "toolName"):
                names[call] = text(c, "toolName")
            match text(c, "type"):
                case "text-delta":
                    yield Part("text", text(c, "delta"), text(c, "id"))
                case "reasoning-delta":
                    yield Part("reasoning", text(c, "delta"), text(c, "id"))
                case "tool-input-available":
                    yield Part("tool-call", id=call, name=names.get(call, ""), value=arguments(get(c, "input")))
                case "tool-output-available":
                    yield Part("tool-result", id=call, name=names.get(call, ""), value=get(c, "output"))
                case "tool-output-error" | "tool-input-error":
                    yield Part("tool-error", text(c, "errorText"), call, names.get(call, ""))
                case "source-url":
                    source = {"url": text(c, "url"), "title": text(c, "title")}
                    yield Part("source", id=text(c, "sourceId"), value=source)
                case "finish":
                    if (usage := get(c, "messageMetadata", "usage")) is not None:
                        yield Part("usage", value=usage)
                    yield Part("finish", name=text(c, "finishReason") or "stop")
                case "error":
                    raise UpstreamError(text(c, "errorText"))
                case kind if kind.startswith("data-"):
                    yield Part("custom", name=kind.removeprefix("data-"), value=get(c, "data"))
