"""The OpenAI SDK's streams: chat completions and responses. Its objects or their JSON, async or sync.

Shapes of OpenAI's documented server-sent events; compatible servers (vLLM, DeepSeek, OpenRouter, Azure) are read too:
reasoning under `reasoning_content` or `reasoning`, chunks without choices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from holdfast.adapters.parts import Part, UpstreamError, arguments, get, text
from holdfast.adapters.shapes import Shape, shape_parts
from holdfast.adapters.sources import Source, iterate
from holdfast.adapters.values import as_event
from holdfast.wire.event import Event


def openai_chat(stream: Source, *, to: Shape = "chat", message_id: str | None = None) -> AsyncGenerator[Event, None]:
    """Events of `client.chat.completions.create(stream=True)`, or of the `.stream()` helper.

    `native`: every chunk's JSON in an unnamed event, as OpenAI's own API sends it (without its `[DONE]`: the run's
    end says that).

    Raises:
        UpstreamError: the stream carried an error, as compatible servers send it.
    """
    return _native_chat(stream) if to == "native" else shape_parts(chat_parts(stream), to, message_id=message_id)


def openai_responses(
    stream: Source, *, to: Shape = "chat", message_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of `client.responses.create(stream=True)`, or of the `.stream()` helper.

    `native`: each event under its own name (`response.output_text.delta`), its data the JSON, as OpenAI's API sends it.

    Raises:
        UpstreamError: an `error` or `response.failed` event came; in `native` after the latter was passed on.
    """
    return (
        _native_responses(stream) if to == "native" else shape_parts(response_parts(stream), to, message_id=message_id)
    )


async def _chat_chunks(stream: Source) -> AsyncGenerator[Any, None]:
    async with aclosing(iterate(stream)) as chunks:
        async for item in chunks:
            if isinstance(get(item, "type"), str):  # the helper's events; the chunk itself is in one of them
                if get(item, "type") == "chunk":
                    yield get(item, "chunk")
                continue
            if (error := get(item, "error")) is not None:
                raise UpstreamError(text(error, "message") or str(error), str(get(error, "code") or ""))
            yield item


async def _native_chat(stream: Source) -> AsyncGenerator[Event, None]:
    async with aclosing(_chat_chunks(stream)) as chunks:
        async for chunk in chunks:
            yield as_event(chunk)


async def chat_parts(stream: Source) -> AsyncGenerator[Part, None]:
    """The first choice's parts. Calls are complete when the model stops, so they come then."""
    calls: dict[int, dict[str, str]] = {}
    reason = None
    async with aclosing(_chat_chunks(stream)) as chunks:
        async for chunk in chunks:
            if (usage := get(chunk, "usage")) is not None:
                yield Part("usage", value=usage)
            for choice in get(chunk, "choices") or ():
                if get(choice, "index"):
                    continue
                delta = get(choice, "delta")
                if thought := text(delta, "reasoning_content") or text(delta, "reasoning"):
                    yield Part("reasoning", thought)
                if said := text(delta, "content") or text(delta, "refusal"):
                    yield Part("text", said)
                for piece in get(delta, "tool_calls") or ():
                    for part in _call_piece(calls, piece):
                        yield part
                reason = get(choice, "finish_reason") or reason
    for call in calls.values():
        yield Part("tool-call", id=call["id"], name=call["name"], value=arguments(call["arguments"]))
    if reason is not None:
        yield Part("finish", name=reason)


def _call_piece(calls: dict[int, dict[str, str]], piece: Any) -> list[Part]:
    index = get(piece, "index") or 0
    out: list[Part] = []
    if index not in calls:
        call = calls[index] = {
            "id": text(piece, "id") or f"call_{index}",
            "name": text(piece, "function", "name"),
            "arguments": "",
        }
        out.append(Part("tool-start", id=call["id"], name=call["name"]))
    if more := text(piece, "function", "arguments"):
        calls[index]["arguments"] += more
        out.append(Part("tool-delta", more, calls[index]["id"]))
    return out


async def _response_events(stream: Source) -> AsyncGenerator[Any, None]:
    async with aclosing(iterate(stream)) as events:
        async for e in events:
            kind = text(e, "type")
            if kind == "error":
                raise UpstreamError(text(e, "message") or text(e, "error", "message"), text(e, "code"))
            yield e
            if kind == "response.failed":
                error = get(e, "response", "error")
                raise UpstreamError(text(error, "message") or "the response failed", str(get(error, "code") or ""))


async def _native_responses(stream: Source) -> AsyncGenerator[Event, None]:
    async with aclosing(_response_events(stream)) as events:
        async for e in events:
            yield as_event(e, text(e, "type") or "message")


_TEXT: Final = {"response.output_text.delta", "response.refusal.delta"}
_REASONING: Final = {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
_ARGUMENTS: Final = {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
_OWN_CALLS: Final = {"function_call", "custom_tool_call"}


async def response_parts(stream: Source) -> AsyncGenerator[Part, None]:
    """The response's parts. Calls to OpenAI's own tools (web search and the like) come with their result."""
    call_ids: dict[str, str] = {}
    called = False
    sources = 0
    async with aclosing(_response_events(stream)) as events:
        async for e in events:
            kind, item = text(e, "type"), get(e, "item")
            if kind in _TEXT:
                yield Part("text", text(e, "delta"), f"{get(e, 'item_id')}:{get(e, 'content_index')}")
            elif kind in _REASONING:
                yield Part("reasoning", text(e, "delta"), f"{get(e, 'item_id')}:{get(e, 'summary_index')}")
            elif kind == "response.output_item.added" and text(item, "type") in _OWN_CALLS:
                call_ids[text(item, "id")] = text(item, "call_id")
                yield Part("tool-start", id=text(item, "call_id"), name=text(item, "name"))
            elif kind in _ARGUMENTS:
                yield Part("tool-delta", text(e, "delta"), call_ids.get(text(e, "item_id"), ""))
            elif kind == "response.output_item.done" and text(item, "type") in _OWN_CALLS:
                called = True
                value = get(item, "input") if text(item, "type") == "custom_tool_call" else get(item, "arguments")
                yield Part("tool-call", id=text(item, "call_id"), name=text(item, "name"), value=arguments(value))
            elif kind == "response.output_item.done" and text(item, "type").endswith("_call"):
                for part in _hosted_call(item):
                    yield part
            elif kind == "response.output_text.annotation.added" and (url := text(e, "annotation", "url")):
                sources += 1
                yield Part(
                    "source", id=f"source-{sources}", value={"url": url, "title": text(e, "annotation", "title")}
                )
            elif kind in ("response.completed", "response.incomplete"):
                if (usage := get(e, "response", "usage")) is not None:
                    yield Part("usage", value=usage)
                why = text(e, "response", "incomplete_details", "reason")
                yield Part("finish", name=why or ("tool_calls" if called else "stop"))


def _hosted_call(item: Any) -> list[Part]:
    call, name = text(item, "id"), text(item, "type").removesuffix("_call")
    given = next((v for k in ("action", "queries", "code", "arguments") if (v := get(item, k)) is not None), None)
    made = next(
        (v for k in ("results", "outputs", "output", "result", "status") if (v := get(item, k)) is not None), None
    )
    out = [Part("tool-start", id=call, name=name), Part("tool-call", id=call, name=name, value=arguments(given))]
    if text(item, "status") == "failed":
        return [*out, Part("tool-error", text(item, "error") or f"{name} failed", call, name)]
    return [*out, Part("tool-result", id=call, name=name, value=made)]
