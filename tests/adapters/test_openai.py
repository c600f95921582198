"""The OpenAI SDK's own stream objects, async and sync, through the adapters."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import openai
import pytest

from holdfast.adapters import UpstreamError, openai_chat, openai_responses
from tests.adapters import canned
from tests.adapters.reading import collect, named, part, said, ui_message, until_error

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


Provider = Callable[[bytes], str]
AsyncClient = Callable[[bytes], openai.AsyncOpenAI]
SyncClient = Callable[[bytes], openai.OpenAI]


@pytest.fixture
async def async_client(provider: Provider) -> AsyncIterator[Callable[[bytes], openai.AsyncOpenAI]]:
    async with AsyncExitStack() as stack:
        made: list[openai.AsyncOpenAI] = []

        def make(body: bytes) -> openai.AsyncOpenAI:
            made.append(openai.AsyncOpenAI(api_key="k", base_url=provider(body), max_retries=0))
            stack.push_async_callback(made[-1].close)
            return made[-1]

        yield make


@pytest.fixture
def sync_client(provider: Provider) -> Iterator[Callable[[bytes], openai.OpenAI]]:
    with ExitStack() as stack:
        yield lambda body: stack.enter_context(openai.OpenAI(api_key="k", base_url=provider(body), max_retries=0))


async def test_chat_completion_as_text_and_named_events(async_client: AsyncClient) -> None:
    """Text pieces append to the answer; reasoning, the call and the finish are events of their own."""
    stream = await async_client(canned.sse(canned.CHAT, done=True)).chat.completions.create(stream=True, **ASK)
    events = await collect(openai_chat(stream))
    assert said(events) == "Grüße, Welt\n"
    assert [e.text for e in events if e.type == "reasoning"] == ["Hm. "]
    assert named(events, "tool.call") == [{"id": "call_a", "name": "add", "input": {"x": 1}}]
    (finish,) = named(events, "finish")
    assert finish["reason"] == "tool-calls"
    assert finish["usage"]["total_tokens"] == 8


async def test_chat_completion_as_an_unawaited_call_and_by_the_sync_client(
    async_client: AsyncClient, sync_client: SyncClient
) -> None:
    """The call itself may be given, unawaited; the sync client's stream is read off the event loop."""
    body = canned.sse(canned.CHAT, done=True)
    call = async_client(body).chat.completions.create(stream=True, **ASK)
    assert said(await collect(openai_chat(call))) == "Grüße, Welt\n"
    stream = sync_client(body).chat.completions.create(stream=True, **ASK)
    assert said(await collect(openai_chat(stream))) == "Grüße, Welt\n"
    assert stream.response.is_closed


async def test_chat_completion_native_is_the_api_s_own_wire(async_client: AsyncClient) -> None:
    """Each unnamed event is a chunk that a client of OpenAI's API can read."""
    stream = await async_client(canned.sse(canned.CHAT, done=True)).chat.completions.create(stream=True, **ASK)
    events = await collect(openai_chat(stream, to="native"))
    assert {e.type for e in events} == {"message"}
    chunks = [json.loads(e.data) for e in events]
    assert len(chunks) == len(canned.CHAT)
    again = await async_client(canned.sse(chunks, done=True)).chat.completions.create(stream=True, **ASK)
    assert "".join([c.choices[0].delta.content or "" async for c in again if c.choices]) == "Grüße, Welt\n"


async def test_chat_completion_for_use_chat(async_client: AsyncClient) -> None:
    """The AI SDK's own parser makes the message of it: text, reasoning, a call."""
    stream = await async_client(canned.sse(canned.CHAT, done=True)).chat.completions.create(stream=True, **ASK)
    read = ui_message(await collect(openai_chat(stream, to="ui", message_id="m-1")))
    message = read["message"]
    assert read["errors"] == []
    assert message["id"] == "m-1"
    assert part(message, "text")["text"] == "Grüße, Welt\n"
    assert part(message, "text")["state"] == "done"
    assert part(message, "reasoning")["text"] == "Hm. "
    call = part(message, "tool-add")
    assert (call["toolCallId"], call["input"], call["state"]) == ("call_a", {"x": 1}, "input-available")


async def test_chat_helper_s_events(async_client: AsyncClient) -> None:
    """`.stream()` gives the chunks inside events of its own, and is a context manager."""
    body = canned.sse([c for c in canned.CHAT if "tool_calls" not in json.dumps(c)], done=True)
    manager = async_client(body).chat.completions.stream(**ASK)
    assert said(await collect(openai_chat(manager))) == "Grüße, Welt\n"


async def test_responses_as_text_and_named_events(async_client: AsyncClient) -> None:
    stream = await async_client(canned.sse(canned.RESPONSE, named=True)).responses.create(
        model="m", input="hi", stream=True
    )
    events = await collect(openai_responses(stream))
    assert said(events) == "Hello there"
    assert [e.text for e in events if e.type == "reasoning"] == ["Thinking."]
    calls = named(events, "tool.call")
    assert calls[0]["name"] == "web_search"
    assert calls[1] == {"id": "call_a", "name": "add", "input": {"x": 1}}
    assert named(events, "source") == [{"url": "https://example.org/a", "title": "A"}]
    assert named(events, "finish")[0]["usage"]["total_tokens"] == 8


async def test_responses_native_keeps_the_event_names(sync_client: SyncClient) -> None:
    stream = sync_client(canned.sse(canned.RESPONSE, named=True)).responses.create(model="m", input="hi", stream=True)
    events = await collect(openai_responses(stream, to="native"))
    assert [e.type for e in events] == [e["type"] for e in canned.RESPONSE]
    assert json.loads(events[4].data)["delta"] == "Hello "


async def test_responses_for_use_chat(async_client: AsyncClient) -> None:
    stream = await async_client(canned.sse(canned.RESPONSE, named=True)).responses.create(
        model="m", input="hi", stream=True
    )
    read = ui_message(await collect(openai_responses(stream, to="ui")))
    assert read["errors"] == []
    assert part(read["message"], "text")["text"] == "Hello there"
    assert part(read["message"], "tool-web_search")["state"] == "output-available"
    assert part(read["message"], "tool-add")["input"] == {"x": 1}
    assert part(read["message"], "source-url")["url"] == "https://example.org/a"


def failing(response: dict[str, object]) -> bytes:
    return canned.sse(
        canned.numbered([*canned.RESPONSE[:5], {"type": "response.failed", "response": response}]), named=True
    )


async def test_a_failed_response_is_not_a_finished_one(async_client: AsyncClient) -> None:
    """`response.failed` raises after what came before it, so the run ends as failed."""
    body = failing(canned.response_object("failed", error={"code": "server_error", "message": "boom"}))
    stream = await async_client(body).responses.create(model="m", input="hi", stream=True)
    got, error = await until_error(openai_responses(stream))
    assert isinstance(error, UpstreamError)
    assert (str(error), error.code) == ("boom", "server_error")
    assert said(got) == "Hello "


async def test_a_failure_reaches_use_chat_as_an_error_without_the_provider_s_text(async_client: AsyncClient) -> None:
    body = failing(canned.response_object("failed", error={"code": "server_error", "message": "key sk-123 is broke"}))
    stream = await async_client(body).responses.create(model="m", input="hi", stream=True)
    got, error = await until_error(openai_responses(stream, to="ui"))
    assert isinstance(error, UpstreamError)
    assert b"sk-123" not in b"".join(e.data for e in got)
    read = ui_message(got)
    assert len(read["errors"]) == 1
    assert part(read["message"], "text")["text"] == "Hello "
