"""What every streamer backend must do; a class per backend inherits it and says how to make a streamer.

Each test that is named after a fault shows that fault of resumable-sse not to be here.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import count
from typing import Any

import pytest

from holdfast.adapters import Event
from holdfast.serving import SessionEnded, StoreStreamer
from holdfast.wire.errors import InvalidEventType

SseEvent = dict[str, Any]
Make = Callable[..., Awaitable[StoreStreamer]]
"""Makes a streamer on the same storage: where the backend can, what another process would have."""

WORDS = ["Hello,", " I'm", " an", " AI.", ""]
_ids = count()


class Model:
    """A generator whose chunks come when the test says so, and that counts how often it was started and closed."""

    def __init__(self, words: list[Any] = WORDS, *, go: bool = True) -> None:
        self.words = words
        self.started = 0
        self.closed = 0
        self._steps = asyncio.Semaphore(10_000 if go else 0)

    def step(self, n: int = 1) -> None:
        for _ in range(n):
            self._steps.release()

    async def __call__(self) -> AsyncIterator[Any]:
        self.started += 1
        try:
            for word in self.words:
                await self._steps.acquire()
                if isinstance(word, Exception):
                    raise word
                yield word
            await self._steps.acquire()
        finally:
            self.closed += 1


async def collect(events: AsyncGenerator[SseEvent, None], upto: int | None = None) -> list[SseEvent]:
    got: list[SseEvent] = []
    async with asyncio.timeout(20), aclosing(events):
        async for e in events:
            got.append(e)
            if upto is not None and len(got) == upto:
                break
    return got


def texts(events: list[SseEvent]) -> list[str]:
    return [e["data"] for e in events if e["event"] == "message"]


def names(events: list[SseEvent]) -> list[str]:
    return [e["event"] for e in events]


def reason(event: SseEvent) -> str:
    assert event["event"] in ("failed", "gap"), event
    return str(json.loads(event["data"])["reason"])


class StreamerContract:
    """The suite. A backend's class gives the fixture `make`."""

    @pytest.fixture
    def sid(self) -> str:
        return f"chat-{next(_ids)}"

    async def test_the_documented_shape(self, make: Make, sid: str) -> None:
        """Events `message` with an id and the data, then `end` with empty data, as a dict without an id."""
        events = await collect((await make()).stream(session_id=sid, generator=Model(["a", "b"])()))
        assert [(e["event"], e["data"]) for e in events] == [("message", "a"), ("message", "b"), ("end", "")]
        assert all(e["id"] for e in events[:2])
        assert events[2] == {"event": "end", "data": ""}

    async def test_no_event_doubled_on_resume(self, make: Make, sid: str) -> None:
        """From every id, exactly what follows it."""
        streamer = await make()
        events = await collect(streamer.stream(sid, Model()))
        for i, event in enumerate(events[:-1]):
            assert await collect(streamer.stream(sid, Model(), event["id"])) == events[i + 1 :]

    async def test_no_event_doubled_where_replay_meets_live(self, make: Make, sid: str) -> None:
        streamer = await make()
        model = Model([str(i) for i in range(50)], go=False)
        viewers = []
        for i in range(50):
            viewers.append(asyncio.create_task(collect(streamer.stream(sid, model))))
            model.step()
            if i % 5 == 0:
                await asyncio.sleep(0)
        model.step()
        for viewer in viewers:
            assert texts(await viewer) == [str(i) for i in range(50)]

    async def test_every_viewer_gets_the_end(self, make: Make, sid: str) -> None:
        """Those who watch together, and those who come later, also after a first has finished."""
        streamer = await make()
        first = await asyncio.gather(*(collect(streamer.stream(sid, Model())) for _ in range(5)))
        later = [await collect(streamer.stream(sid, Model())) for _ in range(2)]
        for events in [*first, *later]:
            assert texts(events) == WORDS
            assert names(events)[-1] == "end"

    async def test_a_failure_is_told_as_one(self, make: Make, sid: str) -> None:
        """After what came before it; by the exception's class, and without its text, which may hold secrets."""
        streamer = await make()
        for _ in range(2):
            events = await collect(streamer.stream(sid, Model(["a", ValueError("key sk-1")])))
            assert names(events) == ["message", "failed"]
            assert json.loads(events[1]["data"]) == {"reason": "producer_error", "message": "ValueError"}

    async def test_a_failure_with_a_text_of_the_caller_s(self, make: Make, sid: str) -> None:
        streamer = await make(error_text=lambda e: f"{type(e).__name__}, sorry")
        events = await collect(streamer.stream(sid, Model([ValueError("key sk-1")])))
        assert json.loads(events[0]["data"])["message"] == "ValueError, sorry"

    async def test_a_callable_that_raises_is_a_failure_too(self, make: Make, sid: str) -> None:
        def fail() -> AsyncIterator[str]:
            raise ValueError("boom")

        assert names(await collect((await make()).stream(sid, fail))) == ["failed"]

    async def test_a_chunk_equal_to_an_end_marker_is_data(self, make: Make, sid: str) -> None:
        streamer = await make(end_marker="[END]")
        assert streamer.end_marker == "[END]"
        events = await collect(streamer.stream(sid, Model(["a", "[END]", "generating", "b"])))
        assert texts(events) == ["a", "[END]", "generating", "b"]

    async def test_two_calls_start_one_generator(self, make: Make, sid: str) -> None:
        """Twenty at once, over two streamers; the others' generators are closed and never run."""
        one, two = await make(), await make()
        models = [Model() for _ in range(20)]
        generators = [m() for m in models]
        calls = [(two if i % 2 else one).stream(sid, g) for i, g in enumerate(generators)]
        for events in await asyncio.gather(*(collect(c) for c in calls)):
            assert texts(events) == WORDS
        assert sum(m.started for m in models) == 1
        for generator in generators:
            with pytest.raises(StopAsyncIteration):
                await anext(generator)

    async def test_an_unused_callable_is_never_called(self, make: Make, sid: str) -> None:
        streamer = await make()
        await collect(streamer.stream(sid, Model()))
        unused = Model()
        await collect(streamer.stream(sid, unused))
        assert unused.started == 0

    async def test_after_the_end_a_resume_replays_and_does_not_run_the_model_again(self, make: Make, sid: str) -> None:
        streamer, again = await make(), Model()
        events = await collect(streamer.stream(sid, Model()))
        assert await collect(streamer.stream(sid, again)) == events
        assert await collect(streamer.stream(sid, again, events[-2]["id"])) == events[-1:]
        assert await collect((await make()).stream(sid, again, events[0]["id"])) == events[1:]
        assert again.started == 0

    async def test_sync_generators_run_off_the_event_loop(self, make: Make, sid: str) -> None:
        """The loop itself lets the generator go on: were it blocked by it, this would not end."""
        release, threads = threading.Event(), []

        def slow() -> Iterator[str]:
            threads.append(threading.get_ident())
            release.wait(10)
            yield "a"

        asyncio.get_running_loop().call_later(0.05, release.set)
        assert texts(await collect((await make()).stream(sid, slow()))) == ["a"]
        assert threads[0] != threading.get_ident()

    async def test_a_viewer_that_leaves_stops_nothing(self, make: Make, sid: str) -> None:
        """Neither the generator nor the others."""
        streamer = await make()
        model = Model(go=False)
        stays = asyncio.create_task(collect(streamer.stream(sid, model)))
        model.step()
        (left,) = await collect(streamer.stream(sid, model), 1)
        cancelled = asyncio.create_task(collect(streamer.stream(sid, model)))
        await asyncio.sleep(0.02)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        model.step(len(WORDS))
        assert texts(await stays) == WORDS
        assert texts(await collect(streamer.stream(sid, model, left["id"]))) == WORDS[1:]
        assert (model.started, model.closed) == (1, 1)
        assert len(streamer._live) == 0, "nobody watches any more, so nothing is read any more"

    async def test_a_viewer_that_leaves_while_it_starts_the_generator_stops_nothing(self, make: Make, sid: str) -> None:
        """Cancelled at any of its first steps: the generator runs, or none was begun and the next call's runs."""
        streamer = await make()
        for steps in range(12):
            models = [Model([str(steps)]), Model([str(steps)])]
            starts = asyncio.create_task(collect(streamer.stream(f"{sid}-{steps}", models[0]())))
            for _ in range(steps):
                await asyncio.sleep(0)
            starts.cancel()
            await asyncio.wait([starts])
            assert texts(await collect(streamer.stream(f"{sid}-{steps}", models[1]))) == [str(steps)]
            assert models[0].started + models[1].started == 1

    async def test_generation_goes_on_with_no_viewer_at_all(self, make: Make, sid: str) -> None:
        streamer = await make()
        model = Model(go=False)
        model.step()
        await collect(streamer.stream(sid, model), 1)
        model.step(len(WORDS))
        assert texts(await collect(streamer.stream(sid))) == WORDS

    async def test_zero_means_the_start_and_is_never_an_id(self, make: Make, sid: str) -> None:
        streamer = await make()
        events = await collect(streamer.stream(sid, Model()))
        assert all(e.get("id") not in ("0", "", None) for e in events[:-1])
        for start in ("0", "", None):
            assert await collect(streamer.stream(sid, last_id=start)) == events

    @pytest.mark.parametrize(
        ("last_id", "why"),
        [
            ("nonsense", "malformed"),
            ("17", "malformed"),
            ("1699999999999-0", "foreign"),
            ("\x00\n", "malformed"),
            ("x" * 5000, "malformed"),
        ],
    )
    async def test_a_cursor_that_is_no_place_is_told_and_everything_replayed(
        self, make: Make, sid: str, last_id: str, why: str
    ) -> None:
        """Also the ids that resumable-sse gave out before the switch."""
        streamer = await make()
        events = await collect(streamer.stream(sid, Model()))
        gap, *rest = await collect(streamer.stream(sid, last_id=last_id))
        assert gap["event"] == "gap"
        assert reason(gap) == why
        assert "id" not in gap
        assert rest == events

    async def test_a_cursor_of_another_session_is_foreign(self, make: Make, sid: str) -> None:
        streamer = await make()
        other = await collect(streamer.stream(sid + "-other", Model()))
        events = await collect(streamer.stream(sid, Model()))
        gap, *rest = await collect(streamer.stream(sid, last_id=other[0]["id"]))
        assert reason(gap) == "foreign"
        assert rest == events

    async def test_a_cursor_ahead_of_the_session_is_told(self, make: Make, sid: str) -> None:
        """As after a storage was restored from a backup."""
        streamer = await make()
        await streamer.push(sid, "a")
        await streamer.push(sid, "b")
        (first,) = await collect(streamer.stream(sid), 1)
        run, _, _ = first["id"].rpartition("-")
        viewer = asyncio.create_task(collect(streamer.stream(sid, last_id=f"{run}-1000")))
        await asyncio.sleep(0.02)
        await streamer.mark_end(sid)
        gap, *rest = await viewer
        assert reason(gap) == "future"
        assert texts(rest) == ["a", "b"]

    @pytest.mark.parametrize(
        "odd", ["ü/ä?&#", "a b\nc", "x" * 300, "{braces}", "}{", "a.b.>*", "%7B", "..", "", "\ud800", "人"], ids=ascii
    )
    async def test_any_string_as_session_id(self, make: Make, sid: str, odd: str) -> None:
        streamer = await make()
        await streamer.clear(sid + odd)
        events = await collect(streamer.stream(sid + odd, Model()))
        assert texts(events) == WORDS
        assert texts(await collect(streamer.stream(sid + odd))) == WORDS
        await streamer.clear(odd)
        assert texts(await collect(streamer.stream(odd, Model()))) == WORDS

    async def test_ids_that_encode_alike_are_different_sessions(self, make: Make, sid: str) -> None:
        streamer = await make()
        odd = ("{", "%7B", "%257B", "%", "%25", "/", "_", "-2F", "=2F", "_2F", "~2F", "\\ud800", "\ud800", "%D800")
        ids = [sid + o for o in odd]
        for i in ids:
            await collect(streamer.stream(i, Model([ascii(i)])))
        for i in ids:
            assert texts(await collect(streamer.stream(i))) == [ascii(i)]

    async def test_chunks_of_all_kinds(self, make: Make, sid: str) -> None:
        chunks = ["text", b"bytes", {"a": [1, "ü"]}, 3, Event(b'{"n":1}', "usage"), "", "a\nb", "\U0001f600"]
        events = await collect((await make()).stream(sid, Model(chunks)))
        assert [(e["event"], e["data"]) for e in events] == [
            ("message", "text"),
            ("message", "bytes"),
            ("message", '{"a":[1,"ü"]}'),
            ("message", "3"),
            ("usage", '{"n":1}'),
            ("message", ""),
            ("message", "a\nb"),
            ("message", "\U0001f600"),
            ("end", ""),
        ]

    @pytest.mark.parametrize("name", ["end", "failed", "gap", "session.end"])
    async def test_the_streamer_s_own_names_are_refused(self, make: Make, sid: str, name: str) -> None:
        """A model that could say `end` could end the stream."""
        streamer = await make()
        events = await collect(streamer.stream(sid, Model(["a", Event(b"", name), "b"])))
        assert names(events) == ["message", "failed"]
        with pytest.raises(InvalidEventType):
            await streamer.push(sid + "2", Event(b"", name))

    async def test_push_and_mark_end(self, make: Make, sid: str) -> None:
        """Without a generator: filled from anywhere, also from another process."""
        one, two = await make(), await make()
        viewer = asyncio.create_task(collect(two.stream(sid)))
        for i in range(10):
            await (one if i < 5 else two).push(sid, str(i))
        await one.mark_end(sid)
        await two.mark_end(sid)
        for events in (await viewer, await collect(one.stream(sid))):
            assert texts(events) == [str(i) for i in range(10)]
            assert names(events)[-1] == "end"

    async def test_pushes_keep_their_order(self, make: Make, sid: str) -> None:
        streamer = await make()
        await asyncio.gather(*(streamer.push(sid, str(i)) for i in range(50)))
        await streamer.mark_end(sid)
        assert texts(await collect(streamer.stream(sid))) == [str(i) for i in range(50)]

    async def test_bytes_that_are_no_text_are_marked(self, make: Make, sid: str) -> None:
        streamer = await make()
        await streamer.push(sid, b"a\xffb")
        await streamer.mark_end(sid)
        assert texts(await collect(streamer.stream(sid))) == ["a\ufffdb"]

    async def test_mark_failed(self, make: Make, sid: str) -> None:
        streamer = await make()
        await streamer.push(sid, "a")
        await streamer.mark_failed(sid, "sorry")
        await streamer.mark_end(sid)
        events = await collect(streamer.stream(sid))
        assert names(events) == ["message", "failed"]
        assert json.loads(events[1]["data"])["message"] == "sorry"

    async def test_push_after_the_end_is_refused(self, make: Make, sid: str) -> None:
        streamer = await make()
        await collect(streamer.stream(sid, Model()))
        with pytest.raises(SessionEnded):
            await streamer.push(sid, "more")
        assert texts(await collect(streamer.stream(sid))) == WORDS

    async def test_mark_end_stops_the_generator(self, make: Make, sid: str) -> None:
        streamer = await make()
        model = Model(["a", "b", "c"], go=False)
        viewer = asyncio.create_task(collect(streamer.stream(sid, model)))
        model.step()
        assert texts(await collect(streamer.stream(sid), 1)) == ["a"]
        await streamer.mark_end(sid)
        model.step(3)
        events = await viewer
        assert (texts(events), names(events)[-1]) == (["a"], "end")
        await until(lambda: model.closed == 1)

    async def test_push_beside_a_generator_loses_nothing(self, make: Make, sid: str) -> None:
        streamer = await make()
        model = Model(["a", "b", "c"], go=False)
        viewer = asyncio.create_task(collect(streamer.stream(sid, model)))
        model.step()
        assert texts(await collect(streamer.stream(sid), 1)) == ["a"]
        await streamer.push(sid, "from outside")
        model.step(3)
        assert texts(await viewer) == ["a", "from outside", "b", "c"]

    async def test_clear_forgets_and_the_next_call_starts_anew(self, make: Make, sid: str) -> None:
        streamer = await make()
        old = await collect(streamer.stream(sid, Model(["old"])))
        await streamer.clear(sid)
        await streamer.clear(sid)
        new = await collect(streamer.stream(sid, Model(["new"])))
        assert texts(new) == ["new"]
        gap, *rest = await collect(streamer.stream(sid, last_id=old[0]["id"]))
        assert reason(gap) in ("foreign", "trimmed")
        assert rest == new

    async def test_clear_stops_the_generator_and_tells_viewers(self, make: Make, sid: str) -> None:
        streamer = await make()
        model = Model(go=False)
        viewer = asyncio.create_task(collect(streamer.stream(sid, model)))
        model.step()
        watches = streamer.stream(sid)
        assert (await anext(watches))["data"] == WORDS[0]
        await streamer.clear(sid)
        assert (model.started, model.closed) == (1, 1)
        assert reason((await collect(watches))[-1]) == "cleared"
        viewer.cancel()
        await asyncio.wait([viewer])

    async def test_a_viewer_may_come_before_the_producer(self, make: Make, sid: str) -> None:
        streamer = await make()
        viewer = asyncio.create_task(collect(streamer.stream(sid)))
        await asyncio.sleep(0.05)
        await collect(streamer.stream(sid, Model()))
        assert texts(await viewer) == WORDS

    async def test_an_unknown_session_is_told_in_the_end(self, make: Make, sid: str) -> None:
        streamer = await make(wait_seconds=0.05)
        (event,) = await collect(streamer.stream(sid))
        assert reason(event) == "unknown_session"

    async def test_a_stopped_process_tells_its_viewers_elsewhere(self, make: Make, sid: str) -> None:
        one, two = await make(), await make()
        model = Model(go=False)
        model.step()
        await collect(one.stream(sid, model), 1)
        viewer = asyncio.create_task(collect(two.stream(sid)))
        await asyncio.sleep(0.05)
        await one.aclose()
        events = await viewer
        assert texts(events) == WORDS[:1]
        assert reason(events[-1]) == "producer_stopped"
        assert model.closed == 1

    async def test_a_viewer_behind_the_shared_ring_gets_everything(self, make: Make, sid: str) -> None:
        """It reads from the storage until it is with the others again."""
        streamer = await make(ring_bytes=2000)
        words = [f"{i:0100}" for i in range(600)]
        model = Model(words, go=False)
        async with aclosing(streamer.stream(sid, model)) as slow:
            model.step()
            got = [await anext(slow)]
            model.step(len(words))
            assert texts(await collect(streamer.stream(sid, model))) == words
            got += [e async for e in slow]
        assert texts(got) == words
        assert names(got)[-1] == "end"

    async def test_many_sessions_at_once(self, make: Make, sid: str) -> None:
        streamer = await make()
        calls = [collect(streamer.stream(f"{sid}-{i}", Model([str(i)] * 5))) for i in range(150)]
        for i, events in enumerate(await asyncio.gather(*calls)):
            assert texts(events) == [str(i)] * 5


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  (what is waited for happens in another task, which tells nobody)
            await asyncio.sleep(0.01)
