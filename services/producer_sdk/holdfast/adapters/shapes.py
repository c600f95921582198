"""From parts to the events a front end expects.

`chat`: for an `EventSource` of one's own: text pieces as unnamed events (`onmessage` appends them), the rest named.
`ui`: the AI SDK's UI message stream, which `useChat` reads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Literal, TypeAlias

from holdfast.adapters.parts import Part, finish_reason
from holdfast.adapters.values import to_json
from holdfast.wire.event import MESSAGE, Event, event

Shape: TypeAlias = Literal["chat", "ui", "native"]

UI_ERROR_TEXT: Final = "The answer could not be completed."
"""What a UI message says of a failure unless the caller chooses: a provider's own text is not for viewers."""


def shape_parts(
    parts: AsyncGenerator[Part, None], to: Shape, *, message_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Turn parts into events of a shape. Raises `ValueError` for a shape that is none."""
    if to == "chat":
        return to_chat(parts)
    if to == "ui":
        return to_ui(parts, message_id=message_id)
    raise ValueError(f"no such shape: {to!r}; there are 'chat', 'ui' and 'native'")


async def to_chat(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[Event, None]:
    """Unnamed text events; named `reasoning`, `tool.call`, `tool.result`, `tool.error`, `source`, `finish`."""
    usage: Any = None
    reason: str | None = None
    async with aclosing(parts):
        async for part in parts:
            match part.kind:
                case "text" | "reasoning":
                    if part.text:
                        yield event(part.text, MESSAGE if part.kind == "text" else "reasoning")
                case "tool-call":
                    yield _json("tool.call", id=part.id, name=part.name, input=part.value)
                case "tool-result":
                    yield _json("tool.result", id=part.id, name=part.name, output=part.value)
                case "tool-error":
                    yield _json("tool.error", id=part.id, name=part.name, message=part.text)
                case "source":
                    yield _json("source", **part.value)
                case "custom":
                    yield event(to_json(part.value), part.name)
                case "usage":
                    usage = part.value
                case "finish":
                    reason = part.name
    if reason is not None or usage is not None:
        yield _json("finish", reason=finish_reason(reason), usage=usage)


async def to_ui(
    parts: AsyncGenerator[Part, None], *, message_id: str | None = None, error_text: str = UI_ERROR_TEXT
) -> AsyncGenerator[Event, None]:
    """The AI SDK's UI message stream: one unnamed event per chunk, its data the chunk's JSON.

    On an error of the source the message says so (`error` with `error_text`) and the error is raised again, so that
    the run itself fails too.
    """
    state = _UiMessage()
    yield _chunk("start", **({"messageId": message_id} if message_id else {}))
    yield _chunk("start-step")
    try:
        async with aclosing(parts):
            async for part in parts:
                for e in state.chunks(part):
                    yield e
    except Exception:
        for e in state.close_block():
            yield e
        yield _chunk("error", errorText=error_text)
        raise
    for e in state.close_block():
        yield e
    yield _chunk("finish-step")
    meta = {"messageMetadata": {"usage": state.usage}} if state.usage is not None else {}
    yield _chunk("finish", finishReason=finish_reason(state.reason), **meta)


class _UiMessage:
    """The state of one UI message: which block is open, which calls have been announced."""

    def __init__(self) -> None:
        self.usage: Any = None
        self.reason: str | None = None
        self._block: tuple[str, str] | None = None  # kind, the library's id
        self._blocks = 0
        self._started: set[str] = set()
        self._called: set[str] = set()

    def chunks(self, part: Part) -> list[Event]:
        match part.kind:
            case "text" | "reasoning":
                return self._delta(part.kind, part)
            case "usage":
                self.usage = part.value
                return []
            case "finish":
                self.reason = part.name
                return []
        out = self.close_block()
        match part.kind:
            case "tool-start":
                out += self._start(part)
            case "tool-delta":
                if part.id in self._started:
                    out.append(_chunk("tool-input-delta", toolCallId=part.id, inputTextDelta=part.text))
            case "tool-call":
                out += self._call(part)
            case "tool-result":
                out += self._call(part) if part.id not in self._called else []
                out.append(_chunk("tool-output-available", toolCallId=part.id, output=part.value))
            case "tool-error":
                out += self._call(part) if part.id not in self._called else []
                out.append(_chunk("tool-output-error", toolCallId=part.id, errorText=part.text))
            case "source":
                title = {"title": part.value["title"]} if part.value.get("title") else {}
                out.append(_chunk("source-url", sourceId=part.id, url=part.value["url"], **title))
            case "step":
                out += [_chunk("finish-step"), _chunk("start-step")]
            case "custom":
                out.append(_chunk(f"data-{part.name}", data=part.value))
        return out

    def _delta(self, kind: str, part: Part) -> list[Event]:
        if not part.text:
            return []
        out: list[Event] = []
        if self._block != (kind, part.id):
            out = self.close_block()
            self._blocks += 1
            self._block = (kind, part.id)
            out.append(_chunk(f"{kind}-start", id=str(self._blocks)))
        out.append(_chunk(f"{kind}-delta", id=str(self._blocks), delta=part.text))
        return out

    def close_block(self) -> list[Event]:
        if self._block is None:
            return []
        kind, self._block = self._block[0], None
        return [_chunk(f"{kind}-end", id=str(self._blocks))]

    def _start(self, part: Part) -> list[Event]:
        if part.id in self._started:
            return []
        self._started.add(part.id)
        return [_chunk("tool-input-start", toolCallId=part.id, toolName=part.name or "tool")]

    def _call(self, part: Part) -> list[Event]:
        # A result whose call was not seen (a resumed graph) still needs one: the front end refuses it otherwise.
        known = part.kind == "tool-call"
        if part.id in self._called:
            return []
        self._called.add(part.id)
        value = part.value if known else {}
        return [_chunk("tool-input-available", toolCallId=part.id, toolName=part.name or "tool", input=value)]


def _chunk(kind: str, **fields: Any) -> Event:
    return event(to_json({"type": kind, **fields}), MESSAGE)


def _json(event_name: str, /, **fields: Any) -> Event:
    return event(to_json({k: v for k, v in fields.items() if v is not None}), event_name)
