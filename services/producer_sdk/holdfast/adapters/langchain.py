"""LangChain and LangGraph: `astream`, `astream_events` (v2) and a graph's `astream` in any of its modes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from holdfast.adapters.parts import Part, arguments, get, text
from holdfast.adapters.shapes import Shape, shape_parts
from holdfast.adapters.sources import Source, iterate
from holdfast.adapters.values import as_event, to_json
from holdfast.wire.event import MESSAGE, Event, event, usable_type

_MODES: Final = {"messages", "updates", "values", "custom", "debug", "tasks", "checkpoints"}
_SHOWN: Final = {"updates": "graph.update", "values": "graph.values", "custom": "custom"}


def langchain_stream(
    stream: Source, *, to: Shape = "chat", message_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of a runnable's `astream` or `astream_events`: message chunks, text, or event dicts.

    `native`: event dicts under their own name (`on_chat_model_stream`), message chunks as unnamed JSON.
    """
    return _native(stream) if to == "native" else shape_parts(langchain_parts(stream), to, message_id=message_id)


def langgraph_stream(
    stream: Source, *, to: Shape = "chat", message_id: str | None = None, mode: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of a graph's `astream`, with one stream mode or several, with and without `subgraphs`, `version` v1 or v2.

    Args:
        stream: what `graph.astream(...)` gave.
        to: the shape. `native` names each event by its mode, as LangGraph's own server does.
        message_id: for the `ui` shape, the message's id.
        mode: the stream mode, where it was given as a plain string other than `messages` and the stream's items do
            not say it themselves.
    """
    if to == "native":
        return _native_graph(stream, mode)
    return shape_parts(langgraph_parts(stream, mode), to, message_id=message_id)


async def _native(stream: Source) -> AsyncGenerator[Event, None]:
    async with aclosing(iterate(stream)) as items:
        async for item in items:
            name = text(item, "event")
            yield event(to_json(item), name) if usable_type(name) else as_event(item)


async def langchain_parts(stream: Source) -> AsyncGenerator[Part, None]:
    calls = _Calls()
    async with aclosing(iterate(stream)) as items:
        async for item in items:
            for part in _item_parts(calls, item):
                yield part
    for part in calls.finish():
        yield part


def _item_parts(calls: _Calls, item: Any) -> list[Part]:
    kind = text(item, "event")
    if not kind:
        return calls.message(item)
    run, name = text(item, "run_id"), text(item, "name")
    match kind:
        case "on_chat_model_stream" | "on_llm_stream":
            return calls.message(get(item, "data", "chunk"))
        case "on_tool_start":
            # The model's own announcement of this call carries another id, which only the result names.
            return []
        case "on_tool_end":
            output = get(item, "data", "output")
            if text(output, "tool_call_id"):
                return calls.message(output)
            given = get(item, "data", "input")
            return [
                Part("tool-call", id=run, name=name, value=arguments(given)),
                Part("tool-result", id=run, name=name, value=output),
            ]
        case "on_tool_error":
            call = text(item, "data", "tool_call_id") or run
            return [*calls.complete(), Part("tool-error", str(get(item, "data", "error") or "failed"), call, name)]
        case "on_custom_event":
            return [Part("custom", name=name if usable_type(name) else "custom", value=get(item, "data"))]
    return []


def _graph_item(item: Any, mode: str | None) -> tuple[str, Any]:
    """An item's mode and payload: a v2 dict, `(ns, mode, payload)`, `(mode, payload)`, or the payload alone."""
    if isinstance(item, dict) and item.keys() >= {"type", "ns", "data"}:
        return str(item["type"]), item["data"]
    if isinstance(item, tuple):
        if len(item) == 3 and isinstance(item[0], tuple) and item[1] in _MODES:
            return item[1], item[2]
        if len(item) == 2 and isinstance(item[0], str) and item[0] in _MODES:
            return item[0], item[1]
        if len(item) == 2 and isinstance(item[0], tuple):  # subgraphs with one mode: (ns, payload)
            return _graph_item(item[1], mode)
        if len(item) == 2 and isinstance(item[1], dict):
            return "messages", item
    return mode or "updates", item


async def _native_graph(stream: Source, mode: str | None) -> AsyncGenerator[Event, None]:
    async with aclosing(iterate(stream)) as items:
        async for item in items:
            name, payload = _graph_item(item, mode)
            yield event(to_json(payload), name if usable_type(name) else MESSAGE)


async def langgraph_parts(stream: Source, mode: str | None = None) -> AsyncGenerator[Part, None]:
    calls = _Calls()
    async with aclosing(iterate(stream)) as items:
        async for item in items:
            name, payload = _graph_item(item, mode)
            if name == "messages":
                for part in calls.message(payload[0] if isinstance(payload, tuple | list) else payload):
                    yield part
            elif name in _SHOWN:
                yield Part("custom", name=_SHOWN[name], value=payload)
    for part in calls.finish():
        yield part


class _Calls:
    """Messages to parts: tool calls come in pieces, several messages may follow each other."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], dict[str, str]] = {}
        self._message = ""
        self._said = False
        self._reason: str | None = None

    def message(self, message: Any) -> list[Part]:
        if isinstance(message, str):
            return [Part("text", message)]
        kind, ident = text(message, "type"), text(message, "id")
        if kind == "tool":
            call, name, content = text(message, "tool_call_id"), text(message, "name"), get(message, "content")
            done = self.complete()
            if text(message, "status") == "error":
                return [*done, Part("tool-error", str(content), call, name)]
            return [*done, Part("tool-result", id=call, name=name, value=content)]
        if not kind.lower().startswith("ai"):
            return []
        out: list[Part] = []
        if self._said and ident and ident != self._message:
            out += [*self.complete(), Part("step")]
        self._message, self._said = ident or self._message, True
        out += _content(get(message, "content"), ident)
        if thought := text(message, "additional_kwargs", "reasoning_content"):
            out.append(Part("reasoning", thought, ident))
        for piece in get(message, "tool_call_chunks") or ():
            out += self._piece(ident, piece)
        if kind == "ai":  # a whole message, not a chunk: its calls are complete
            for call in get(message, "tool_calls") or ():
                out += [
                    Part("tool-start", id=text(call, "id"), name=text(call, "name")),
                    Part("tool-call", id=text(call, "id"), name=text(call, "name"), value=get(call, "args") or {}),
                ]
        if (usage := get(message, "usage_metadata")) is not None:
            out.append(Part("usage", value=usage))
        meta = get(message, "response_metadata")
        self._reason = text(meta, "finish_reason") or text(meta, "stop_reason") or self._reason
        if text(message, "chunk_position") == "last":
            out += self.complete()
        return out

    def _piece(self, ident: str, piece: Any) -> list[Part]:
        index = get(piece, "index")
        key = (ident, index if isinstance(index, int) else 0)
        out: list[Part] = []
        if key not in self._open:
            self._open[key] = {"id": text(piece, "id"), "name": text(piece, "name"), "args": ""}
            out.append(Part("tool-start", id=text(piece, "id"), name=text(piece, "name")))
        if more := text(piece, "args"):
            self._open[key]["args"] += more
            out.append(Part("tool-delta", more, self._open[key]["id"]))
        return out

    def complete(self) -> list[Part]:
        calls, self._open = list(self._open.values()), {}
        return [Part("tool-call", id=c["id"], name=c["name"], value=arguments(c["args"])) for c in calls]

    def finish(self) -> list[Part]:
        return [*self.complete(), Part("finish", name=self._reason or "stop")]


def _content(content: Any, ident: str) -> list[Part]:
    if isinstance(content, str):
        return [Part("text", content, ident)] if content else []
    out: list[Part] = []
    for block in content or ():
        if isinstance(block, str):
            out.append(Part("text", block, ident))
            continue
        match text(block, "type"):
            case "text" | "text_delta" | "output_text":
                out.append(Part("text", text(block, "text"), ident))
            case "reasoning":
                summary = "".join(text(s, "text") for s in get(block, "summary") or ())
                out.append(Part("reasoning", text(block, "reasoning") or text(block, "text") or summary, ident))
            case "thinking":
                out.append(Part("reasoning", text(block, "thinking"), ident))
    return [p for p in out if p.text]
