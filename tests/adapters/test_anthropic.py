"""The Anthropic SDK's own stream objects through the adapter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import anthropic
import pytest

from holdfast.adapters import anthropic_messages
from tests.adapters import canned
from tests.adapters.reading import collect, named, part, said, ui_message, until_error

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
BODY = canned.sse(canned.MESSAGE, named=True)


Client = Callable[..., anthropic.AsyncAnthropic]


@pytest.fixture
async def client(provider: Callable[[bytes], str]) -> AsyncIterator[Client]:
    made: list[anthropic.AsyncAnthropic] = []

    def make(body: bytes = BODY) -> anthropic.AsyncAnthropic:
        made.append(anthropic.AsyncAnthropic(api_key="k", base_url=provider(body), max_retries=0))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_message_as_text_and_named_events(client: Client) -> None:
    events = await collect(anthropic_messages(await client().messages.create(stream=True, **ASK)))
    assert said(events) == "Hello there"
    assert "".join(e.text for e in events if e.type == "reasoning") == "Let me see."
    assert named(events, "tool.call") == [{"id": "toolu_1", "name": "add", "input": {"x": 1}}]
    assert named(events, "finish") == [{"reason": "tool-calls", "usage": {"input_tokens": 3, "output_tokens": 9}}]


async def test_the_helper_says_nothing_twice(client: Client) -> None:
    """The helper sends each text piece as a raw event and as one of its own; viewers must get it once."""
    events = await collect(anthropic_messages(client().messages.stream(**ASK)))
    assert said(events) == "Hello there"
    assert len(named(events, "tool.call")) == 1


async def test_sync_client(provider: Callable[[bytes], str]) -> None:
    with anthropic.Anthropic(api_key="k", base_url=provider(BODY), max_retries=0) as sync:
        assert said(await collect(anthropic_messages(sync.messages.create(stream=True, **ASK)))) == "Hello there"


async def test_native_is_the_api_s_own_wire(client: Client) -> None:
    """What the adapter makes is read back by the library itself."""
    events = await collect(anthropic_messages(await client().messages.create(stream=True, **ASK), to="native"))
    assert [e.type for e in events] == [e["type"] for e in canned.MESSAGE if e["type"] != "ping"]
    async with client(canned.sse([json.loads(e.data) for e in events], named=True)).messages.stream(**ASK) as again:
        final = await again.get_final_message()
    assert final.content[1].text == "Hello there"


async def test_for_use_chat(client: Client) -> None:
    read = ui_message(await collect(anthropic_messages(client().messages.stream(**ASK), to="ui")))
    assert read["errors"] == []
    assert part(read["message"], "text")["text"] == "Hello there"
    assert part(read["message"], "reasoning")["text"] == "Let me see."
    assert part(read["message"], "tool-add")["input"] == {"x": 1}


async def test_an_error_in_the_stream_is_raised(client: Client) -> None:
    """The library raises on an `error` event; the adapter lets it through after what came before."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    stream = await client(canned.sse([*canned.MESSAGE[:9], error], named=True)).messages.create(stream=True, **ASK)
    got, raised = await until_error(anthropic_messages(stream))
    assert isinstance(raised, anthropic.APIStatusError)
    assert said(got) == "Hello there"
