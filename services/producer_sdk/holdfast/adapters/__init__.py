"""Model libraries' streams as events a front end reads. Duck-typed: none of the libraries is imported.

    await hf.pipe("chat-42", openai_chat(client.chat.completions.create(..., stream=True)))

Every adapter takes `to`: `chat` for an `EventSource` of one's own, `ui` for the AI SDK's `useChat`, `native` for what
the library's own server sends. `docs/adapters.md` lists the events of each.
"""

from holdfast.adapters.anthropic import anthropic_messages
from holdfast.adapters.langchain import langchain_stream, langgraph_stream
from holdfast.adapters.openai import openai_chat, openai_responses
from holdfast.adapters.parts import UpstreamError
from holdfast.adapters.pydantic_ai import pydantic_ai_events
from holdfast.adapters.sources import Source, close_source, iterate, to_events
from holdfast.adapters.ui_messages import ui_message_stream
from holdfast.adapters.values import as_event
from holdfast.wire.event import Event

__all__ = [
    "Event",
    "Source",
    "UpstreamError",
    "anthropic_messages",
    "as_event",
    "close_source",
    "iterate",
    "langchain_stream",
    "langgraph_stream",
    "openai_chat",
    "openai_responses",
    "pydantic_ai_events",
    "to_events",
    "ui_message_stream",
]
