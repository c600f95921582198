"""pydantic-ai's own agents through the adapter, and its AI SDK chunks through the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.request_types import SubmitMessage, TextUIPart, UIMessage

from holdfast.adapters import pydantic_ai_events, ui_message_stream
from tests.adapters.reading import collect, named, part, said, ui_message, until_error


async def turns(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
    if len(messages) == 1:
        yield {0: DeltaThinkingPart(content="Let me add.")}
        yield {1: DeltaToolCall(name="add", json_args='{"x":', tool_call_id="c1")}
        yield {1: DeltaToolCall(json_args=" 1}")}
    else:
        yield "it "
        yield "is 2"


def agent() -> Agent[None, str]:
    made: Agent[None, str] = Agent(FunctionModel(stream_function=turns))

    @made.tool_plain
    def add(x: int) -> int:
        return x + 1

    return made


async def test_a_run_as_text_and_named_events() -> None:
    events = await collect(pydantic_ai_events(agent().run_stream_events("1+1?")))
    assert said(events) == "it is 2"
    assert "".join(e.text for e in events if e.type == "reasoning") == "Let me add."
    assert named(events, "tool.call") == [{"id": "c1", "name": "add", "input": {"x": 1}}]
    assert named(events, "tool.result") == [{"id": "c1", "name": "add", "output": 2}]
    assert named(events, "finish")[0]["usage"]["requests"] == 2


async def test_plain_text_of_a_run() -> None:
    """`stream_text(delta=True)` inside the caller's own `run_stream`."""
    plain: Agent[None, str] = Agent(FunctionModel(stream_function=_hello))
    async with plain.run_stream("hi") as result:
        assert said(await collect(pydantic_ai_events(result.stream_text(delta=True)))) == "Hello there"


async def _hello(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
    yield "Hello "
    yield "there"


async def test_native_keeps_the_event_kinds() -> None:
    events = await collect(pydantic_ai_events(agent().run_stream_events("1+1?"), to="native"))
    assert events[0].type == "part_start"
    assert named(events, "function_tool_call")[0]["part"]["tool_name"] == "add"
    assert named(events, "agent_run_result")[0]["output"] == "it is 2"


async def test_for_use_chat() -> None:
    read = ui_message(await collect(pydantic_ai_events(agent().run_stream_events("1+1?"), to="ui")))
    assert read["errors"] == []
    assert part(read["message"], "text")["text"] == "it is 2"
    call = part(read["message"], "tool-add")
    assert (call["state"], call["input"], call["output"]) == ("output-available", {"x": 1}, 2)
    assert len([p for p in read["message"]["parts"] if p["type"] == "step-start"]) == 2


class City(BaseModel):
    name: str


async def test_a_structured_result() -> None:
    async def give(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        yield {0: DeltaToolCall(name=info.output_tools[0].name, json_args='{"name":"Ulm"}', tool_call_id="c1")}

    typed: Agent[None, City] = Agent(FunctionModel(stream_function=give), output_type=City)
    events = await collect(pydantic_ai_events(typed.run_stream_events("?")))
    assert named(events, "result") == [{"name": "Ulm"}]


async def test_a_failing_agent_raises() -> None:
    async def fail(messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        yield "Hel"
        raise RuntimeError("boom")

    failing: Agent[None, str] = Agent(FunctionModel(stream_function=fail))
    got, error = await until_error(pydantic_ai_events(failing.run_stream_events("?")))
    assert isinstance(error, RuntimeError)
    assert said(got) == "Hel"


def vercel() -> VercelAIAdapter[None, str]:
    ask = SubmitMessage(
        id="1", trigger="submit-message", messages=[UIMessage(id="u", role="user", parts=[TextUIPart(text="1+1?")])]
    )
    return VercelAIAdapter(agent=agent(), run_input=ask)


async def test_pydantic_ai_s_own_ui_chunks() -> None:
    """The chunks that its Vercel adapter makes pass on as they are, as objects and as the text it encodes them to."""
    as_objects = await collect(ui_message_stream(vercel().run_stream()))
    adapter = vercel()
    as_text = await collect(ui_message_stream(adapter.encode_stream(adapter.run_stream())))
    for events in (as_objects, as_text):
        read = ui_message(events)
        assert read["errors"] == []
        assert part(read["message"], "text")["text"] == "it is 2"
        assert part(read["message"], "tool-add")["output"] == 2
    assert [json.loads(e.data)["type"] for e in as_objects] == [json.loads(e.data)["type"] for e in as_text]


async def test_ui_chunks_for_a_front_end_of_one_s_own() -> None:
    events = await collect(ui_message_stream(vercel().run_stream(), to="chat"))
    assert said(events) == "it is 2"
    assert named(events, "tool.result") == [{"id": "c1", "name": "add", "output": 2}]
