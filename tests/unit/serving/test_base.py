"""A storage of one's own, as people wrote them for resumable-sse: the four methods, perhaps the two of its state."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from holdfast.base import BaseSSEStreamer, ContentStream


class Mine(BaseSSEStreamer):
    """Lists and an event."""

    def __init__(self) -> None:
        super().__init__(end_marker="[DONE]")
        self.chunks: dict[str, list[str]] = defaultdict(list)
        self.ended: set[str] = set()
        self.changed = asyncio.Event()

    async def push(self, session_id: str, data: Any) -> None:
        self.chunks[session_id].append(data)
        self._tell()

    async def mark_end(self, session_id: str) -> None:
        self.ended.add(session_id)
        self._tell()

    async def clear(self, session_id: str) -> None:
        await super().clear(session_id)
        self.chunks.pop(session_id, None)
        self.ended.discard(session_id)

    async def stream(
        self, session_id: str, generator: ContentStream = None, last_id: str | None = "0"
    ) -> AsyncGenerator[dict[str, Any], None]:
        await self.maybe_start_generator(session_id, generator)
        n = int(last_id or 0)
        while True:
            for chunk in self.chunks[session_id][n:]:
                n += 1
                yield {"event": "message", "id": str(n), "data": chunk}
            if session_id in self.ended:
                yield {"event": "end", "data": ""}
                return
            await self.changed.wait()

    def _tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class MineWithState(Mine):
    """With a state of its own, as a storage of several processes has."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, str] = {}

    async def _get_state(self, session_id: str) -> str:
        await asyncio.sleep(0)
        return self.state.get(session_id, "")

    async def _set_state(self, session_id: str, state: str) -> None:
        await asyncio.sleep(0)
        self.state[session_id] = state


class MineWithFailure(Mine):
    async def mark_failed(self, session_id: str, message: str = "") -> None:
        await self.push(session_id, "failed!")
        await self.mark_end(session_id)


async def words(*given: Any) -> AsyncIterator[Any]:
    for word in given:
        if isinstance(word, Exception):
            raise word
        yield word


async def texts(events: AsyncGenerator[dict[str, Any], None]) -> list[str]:
    async with asyncio.timeout(10):
        return [e["data"] async for e in events]


@pytest.mark.parametrize("kind", [Mine, MineWithState])
async def test_the_four_methods_are_enough(kind: type[Mine]) -> None:
    streamer = kind()
    assert await texts(streamer.stream("s", words("a", {"n": 1}, "[DONE]"))) == ["a", '{"n":1}', "[DONE]", ""]
    assert await texts(streamer.stream("s", words("again"))) == ["a", '{"n":1}', "[DONE]", ""]
    await streamer.aclose()


@pytest.mark.parametrize("kind", [Mine, MineWithState])
async def test_two_calls_start_one_generator(kind: type[Mine]) -> None:
    """Also where reading and setting the state yields to the event loop."""
    streamer = kind()
    generators = [words(str(i)) for i in range(10)]
    seen = await asyncio.gather(*(texts(streamer.stream("s", g)) for g in generators))
    assert len({tuple(s) for s in seen}) == 1
    for generator in generators:
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
    await streamer.aclose()


async def test_a_failure_is_told_in_the_storage_s_own_way(caplog: pytest.LogCaptureFixture) -> None:
    streamer = MineWithFailure()
    assert await texts(streamer.stream("s", words("a", ValueError("boom")))) == ["a", "failed!", ""]
    assert "boom" in caplog.text


async def test_a_storage_without_a_word_for_failure_ends_and_says_so_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await texts(Mine().stream("s", words("a", ValueError("boom")))) == ["a", ""]
    assert "Mine has no mark_failed" in caplog.text


async def test_clear_and_again() -> None:
    """The state is kept by the base, so it must be forgotten with the session."""
    streamer = Mine()
    assert await texts(streamer.stream("s", words("a"))) == ["a", ""]
    await streamer.clear("s")
    assert await texts(streamer.stream("s", words("b"))) == ["b", ""]


async def test_closing_stops_the_generators() -> None:
    streamer, closed = Mine(), asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = streamer.stream("s", endless)
    assert (await anext(stream))["data"] == "a"
    await streamer.aclose()
    assert closed.is_set()
    assert [e["event"] async for e in stream] == ["end"]


def test_the_four_are_abstract() -> None:
    class Half(BaseSSEStreamer):
        async def push(self, session_id: str, data: Any) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
