"""What all model libraries say, in one vocabulary; the shapes turn it into events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from holdfast.wire.errors import HoldfastError

Kind: TypeAlias = Literal[
    "text",  # a piece of the answer: text
    "reasoning",  # a piece of the model's thinking: text
    "tool-start",  # the model begins a call: id, name
    "tool-delta",  # a piece of the call's arguments, as JSON text: id, text
    "tool-call",  # the call is complete: id, name, value (the arguments)
    "tool-result",  # what the tool gave: id, name, value
    "tool-error",  # the tool failed: id, name, text
    "source",  # a citation: id, value {url, title}
    "step",  # the model is asked once more, as after a tool call
    "usage",  # token counts: value
    "finish",  # why the model stopped: name
    "custom",  # what the application itself put into the stream: name, value
]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing a model said or did."""

    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    value: Any = None


class UpstreamError(HoldfastError):
    """The model's provider said in its stream that it failed. The run must end as failed, not as finished.

    Attributes:
        code: the provider's code or type of error, if it gave one.
    """

    anchor = "upstreamerror"
    retryable = True

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def get(obj: Any, *path: str) -> Any:
    """Walk attributes or dict keys; None where one is missing. The libraries' objects and their JSON read alike."""
    for name in path:
        obj = obj.get(name) if isinstance(obj, dict) else getattr(obj, name, None)
        if obj is None:
            return None
    return obj


def text(obj: Any, *path: str) -> str:
    """The text at a path; empty where there is none."""
    value = get(obj, *path)
    return value if isinstance(value, str) else ""


def arguments(value: Any) -> Any:
    """A call's arguments as a value. Models send broken JSON at times: then the text itself."""
    if not isinstance(value, str):
        return {} if value is None else value
    if not value.strip():
        return {}
    try:
        return json.loads(value)
    except ValueError:
        return value


FINISH_REASONS: dict[str, str] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content_filter": "content-filter",
    "refusal": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "tool_use": "tool-calls",
    "tool_call": "tool-calls",
}


def finish_reason(value: str | None) -> str:
    """The providers' words for why a model stopped, in one vocabulary: that of the AI SDK."""
    if value is None:
        return "stop"
    return FINISH_REASONS.get(value.lower(), value if value in FINISH_REASONS.values() else "other")
