"""LangChain's and LangGraph's own streams through the adapters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from holdfast.adapters import langchain_stream, langgraph_stream
from tests.adapters.reading import collect, named, part, said, ui_message

HELLO = {"messages": [("user", "hi")]}


def model(*messages: AIMessage) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(messages or (AIMessage("hello big world"),)))


async def test_a_model_s_astream() -> None:
    assert said(await collect(langchain_stream(model().astream("x")))) == "hello big world"


async def test_a_chain_s_text() -> None:
    assert said(await collect(langchain_stream((model() | StrOutputParser()).astream("x")))) == "hello big world"


async def test_sync_stream() -> None:
    assert said(await collect(langchain_stream(model().stream("x")))) == "hello big world"


async def test_astream_events_says_nothing_twice() -> None:
    """The events carry each piece, and at each runnable's end the whole once more."""
    chain = model() | StrOutputParser()
    assert said(await collect(langchain_stream(chain.astream_events("x", version="v2")))) == "hello big world"


async def test_astream_events_native_keeps_the_names() -> None:
    events = await collect(langchain_stream(model().astream_events("x", version="v2"), to="native"))
    assert events[0].type == "on_chat_model_start"
    assert named(events, "on_chat_model_stream")[0]["data"]["chunk"]["content"] == "hello"


async def test_content_blocks_and_call_pieces() -> None:
    """Providers send blocks and pieces of a call's arguments."""

    async def chunks() -> Any:
        yield AIMessageChunk([{"type": "thinking", "thinking": "Hm."}], id="a")
        yield AIMessageChunk([{"type": "text", "text": "Hello"}], id="a")
        piece = {"type": "tool_call_chunk", "index": 0, "name": "add", "id": "c1", "args": ""}
        yield AIMessageChunk("", id="a", tool_call_chunks=[piece])
        yield AIMessageChunk("", id="a", tool_call_chunks=[{**piece, "name": None, "id": None, "args": '{"x":1}'}])
        yield AIMessageChunk(
            "",
            id="a",
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            response_metadata={"finish_reason": "tool_calls"},
            chunk_position="last",
        )
        yield ToolMessage("2", tool_call_id="c1", name="add")

    events = await collect(langchain_stream(chunks()))
    assert said(events) == "Hello"
    assert [e.text for e in events if e.type == "reasoning"] == ["Hm."]
    assert named(events, "tool.call") == [{"id": "c1", "name": "add", "input": {"x": 1}}]
    assert named(events, "tool.result") == [{"id": "c1", "name": "add", "output": "2"}]
    assert named(events, "finish")[0]["reason"] == "tool-calls"


@tool
def add(x: int) -> int:
    """Add one."""
    return x + 1


class Scripted(BaseChatModel):
    """A model that streams what it was given, calls in pieces as the providers send them."""

    script: list[list[AIMessageChunk]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in self.script.pop(0):
            yield ChatGenerationChunk(message=chunk.model_copy())


def agent() -> Any:
    """A graph with a model that calls a tool and then answers, and a node that writes something of its own."""
    piece: dict[str, Any] = {"type": "tool_call_chunk", "index": 0, "name": "add", "id": "c1", "args": '{"x"'}
    rest = {**piece, "name": None, "id": None, "args": ":1}"}
    call = [AIMessageChunk("", tool_call_chunks=[p]) for p in (piece, rest)]
    fake = Scripted(script=[call, [AIMessageChunk("it "), AIMessageChunk("is 2")]])

    async def think(state: MessagesState) -> dict[str, Any]:
        get_stream_writer()({"progress": len(state["messages"])})
        return {"messages": [await fake.ainvoke(state["messages"])]}

    def route(state: MessagesState) -> str:
        return "tools" if state["messages"][-1].tool_calls else "__end__"

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", route)
    graph.add_edge("tools", "think")
    return graph.compile()


@pytest.mark.parametrize(
    "how",
    [
        {"stream_mode": "messages"},
        {"stream_mode": ["messages", "custom", "updates"]},
        {"stream_mode": ["messages"], "subgraphs": True},
        {"stream_mode": "messages", "subgraphs": True},
        {"stream_mode": ["messages", "custom"], "version": "v2"},
    ],
)
async def test_a_graph_in_its_stream_modes(how: dict[str, Any]) -> None:
    """Whatever form the items have, the answer, the call and its result are there once."""
    events = await collect(langgraph_stream(agent().astream(HELLO, **how)))
    assert said(events) == "it is 2"
    assert named(events, "tool.call") == [{"id": "c1", "name": "add", "input": {"x": 1}}]
    assert named(events, "tool.result") == [{"id": "c1", "name": "add", "output": "2"}]
    if "custom" in how["stream_mode"]:
        assert named(events, "custom")[0] == {"progress": 1}
    if "updates" in how["stream_mode"]:
        assert list(named(events, "graph.update")[0]) == ["think"]


async def test_a_graph_s_events() -> None:
    """`astream_events` of the same graph: the call's result is matched to the call."""
    events = await collect(langchain_stream(agent().astream_events(HELLO, version="v2")))
    assert said(events) == "it is 2"
    assert named(events, "tool.result")[0]["output"] == "2"


async def test_a_graph_native() -> None:
    events = await collect(langgraph_stream(agent().astream(HELLO, stream_mode=["messages", "updates"]), to="native"))
    assert {e.type for e in events} == {"messages", "updates"}
    assert named(events, "messages")[0][1]["langgraph_node"] == "think"


async def test_a_graph_for_use_chat() -> None:
    """Two turns of the model with a tool between, as the AI SDK shows them."""
    stream = agent().astream(HELLO, stream_mode=["messages", "custom"])
    read = ui_message(await collect(langgraph_stream(stream, to="ui")))
    assert read["errors"] == []
    assert part(read["message"], "text")["text"] == "it is 2"
    call = part(read["message"], "tool-add")
    assert (call["state"], call["output"]) == ("output-available", "2")
    assert next(p["data"] for p in read["message"]["parts"] if p["type"] == "data-custom") == {"progress": 1}


async def test_a_failing_chain_raises() -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await collect(langchain_stream((model() | RunnableLambda(fail)).astream("x")))
