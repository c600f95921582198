"""pydantic-ai's streams: `agent.run_stream_events()`, an event stream handler's events, or plain text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from holdfast.adapters.parts import Part, arguments, get, text
from holdfast.adapters.shapes import Shape, shape_parts
from holdfast.adapters.sources import Source, iterate
from holdfast.adapters.values import as_event, to_json
from holdfast.wire.event import Event, event, usable_type


def pydantic_ai_events(
    stream: Source, *, to: Shape = "chat", message_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of an agent's run; the context manager that `run_stream_events` gives may be given unopened.

    `native`: each event under its `event_kind` (`part_delta`), its data the event's JSON.
    """
    return _native(stream) if to == "native" else shape_parts(agent_parts(stream), to, message_id=message_id)


async def _native(stream: Source) -> AsyncGenerator[Event, None]:
    async with aclosing(iterate(stream)) as events:
        async for e in events:
            kind = text(e, "event_kind")
            if kind == "agent_run_result":
                yield event(to_json({"output": get(e, "result", "output"), "usage": _usage(e)}), kind)
            else:
                yield event(to_json(e), kind) if usable_type(kind) else as_event(e)


async def agent_parts(stream: Source) -> AsyncGenerator[Part, None]:
    """The run's parts, over all the model's turns. A structured output comes as a `result` of the application."""
    calls: dict[int, str] = {}
    turn = 0
    answered = False
    async with aclosing(iterate(stream)) as events:
        async for e in events:
            if isinstance(e, str):
                yield Part("text", e)
                continue
            index = get(e, "index") or 0
            match text(e, "event_kind"):
                case "part_start":
                    if answered:  # the tools have answered: what begins now is the model's next turn
                        yield Part("step")
                        turn, answered = turn + 1, False
                    for part in _opened(calls, get(e, "part"), index, turn):
                        yield part
                case "part_delta":
                    for part in _delta(calls, get(e, "delta"), index, turn):
                        yield part
                case "function_tool_call" | "output_tool_call":
                    call = get(e, "part")
                    value = arguments(get(call, "args"))
                    yield Part("tool-call", id=text(call, "tool_call_id"), name=text(call, "tool_name"), value=value)
                case "function_tool_result" | "output_tool_result":
                    answered = True
                    yield _result(get(e, "part") or get(e, "result"))
                case "agent_run_result":
                    if (usage := _usage(e)) is not None:
                        yield Part("usage", value=usage)
                    output = get(e, "result", "output")
                    if output is not None and not isinstance(output, str):
                        yield Part("custom", name="result", value=output)
                    yield Part("finish", name="stop")


def _opened(calls: dict[int, str], part: Any, index: int, turn: int) -> list[Part]:
    match text(part, "part_kind"):
        case "text":
            return [Part("text", text(part, "content"), f"{turn}:{index}")]
        case "thinking":
            return [Part("reasoning", text(part, "content"), f"{turn}:{index}")]
        case "tool-call" | "builtin-tool-call":
            calls[index] = text(part, "tool_call_id")
            out = [Part("tool-start", id=calls[index], name=text(part, "tool_name"))]
            if isinstance(args := get(part, "args"), str) and args:
                out.append(Part("tool-delta", args, calls[index]))
            return out
    return []


def _delta(calls: dict[int, str], delta: Any, index: int, turn: int) -> list[Part]:
    match text(delta, "part_delta_kind"):
        case "text":
            return [Part("text", text(delta, "content_delta"), f"{turn}:{index}")]
        case "thinking":
            return [Part("reasoning", text(delta, "content_delta"), f"{turn}:{index}")]
        case "tool_call" if isinstance(get(delta, "args_delta"), str) and index in calls:
            return [Part("tool-delta", text(delta, "args_delta"), calls[index])]
    return []


def _result(part: Any) -> Part:
    call, name, content = text(part, "tool_call_id"), text(part, "tool_name"), get(part, "content")
    if text(part, "part_kind") == "retry-prompt" or text(part, "outcome") in ("failed", "denied"):
        said = content if isinstance(content, str) else to_json(content)
        return Part("tool-error", said, call, name)
    return Part("tool-result", id=call, name=name, value=content)


def _usage(e: Any) -> Any:
    usage = get(e, "result", "usage")
    if callable(usage) and get(usage, "input_tokens") is None:  # a method in pydantic-ai 1, a value since
        usage = usage()
    names = ("input_tokens", "output_tokens", "requests", "tool_calls")
    return {n: v for n in names if (v := get(usage, n)) is not None} if usage is not None else None
