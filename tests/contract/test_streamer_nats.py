"""What is NATS' own about the streamer: processes, a killed producer, the log's other readers and writers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.client import over
from holdfast.factory import get_streamer
from holdfast.nats_stream import NatsSSEStreamer
from holdfast.serving import StoreStreamer, StoreUnavailable, nats_log, nats_store
from holdfast.serving.nats_log import session_name
from holdfast.serving.nats_store import NatsStore
from holdfast.testing.memory import MemoryBroker, MemoryLog
from holdfast.wire import Record
from holdfast.wire.subjects import session_id
from tests.contract.streamer_contract import WORDS, Model, collect, names, reason, texts, until

PROCESS = Path(__file__).with_name("one_process.py")


@pytest.fixture
async def hf(provisioned: str) -> AsyncIterator[holdfast.Holdfast]:
    async with holdfast.connect(provisioned, handle_sigterm=False) as client:
        yield client


@pytest.fixture
async def streamer(hf: holdfast.Holdfast) -> AsyncIterator[StoreStreamer]:
    made = StoreStreamer(NatsStore(hf, lease_seconds=1, grace_seconds=1), owns_store=True)
    yield made
    await made.aclose()


async def process(url: str, sid: str, *more: str) -> asyncio.subprocess.Process:
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROCESS), url, sid, *more),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert made.stdout is not None
    assert await made.stdout.readline() == b"ready\n"
    return made


async def test_two_calls_start_one_generator_across_processes(provisioned: str) -> None:
    """Four processes, released at the same moment; each tells whether its generator ran and what it saw."""
    processes = await asyncio.gather(*(process(provisioned, "chat") for _ in range(4)))
    outs = await asyncio.gather(*(p.communicate(b"go\n") for p in processes))
    told = [out.decode().strip().split(" ", 1) for out, _ in outs]
    assert sorted(started for started, _ in told) == ["0", "0", "0", "1"]
    assert {seen for _, seen in told} == {"a b c | message message message end"}


async def test_a_killed_producer_is_told_as_a_failure(streamer: StoreStreamer, provisioned: str) -> None:
    """With no gateway there: who serves the viewers sees to it, after the lease and the grace."""
    producer = await process(provisioned, "chat", "hang")
    assert producer.stdin is not None
    producer.stdin.write(b"go\n")
    viewer = asyncio.create_task(collect(streamer.stream("chat")))
    assert texts(await collect(streamer.stream("chat"), 1)) == ["a"]
    await asyncio.sleep(3)
    assert not viewer.done(), "the producer is silent, but it lives and renews its lease"
    producer.kill()
    await producer.wait()
    async with asyncio.timeout(8):
        events = await viewer
    assert names(events) == ["message", "failed"]
    assert reason(events[1]) == "producer_lost"
    unused = Model()
    assert await collect(streamer.stream("chat", unused)) == events
    assert unused.started == 0


async def test_pushes_that_stop_are_told_after_the_idle_limit(hf: holdfast.Holdfast) -> None:
    made = StoreStreamer(NatsStore(hf, idle_seconds=0.5, grace_seconds=0.5), owns_store=True)
    await made.push("chat", "a")
    events = await collect(made.stream("chat"))
    assert names(events) == ["message", "failed"]
    assert reason(events[1]) == "producer_lost"
    await made.aclose()


async def test_what_the_sdk_writes_the_streamer_serves_and_the_other_way(
    hf: holdfast.Holdfast, streamer: StoreStreamer
) -> None:
    async with hf.session("by-sdk") as s:
        s.write("a")
        s.write({"n": 1}, "usage")
    events = await collect(streamer.stream("by-sdk"))
    assert [(e["event"], e["data"]) for e in events] == [("message", "a"), ("usage", '{"n":1}'), ("end", "")]
    streamed = await collect(streamer.stream("by-streamer", Model()))
    read = [e async for e in hf.read("by-streamer")]
    assert [e.type for e in read] == ["session.start", *["message"] * len(WORDS), "session.end"]
    assert [e.id for e in read if e.type == "message"] == [e["id"] for e in streamed[:-1]]


async def test_stop_reaches_the_model(hf: holdfast.Holdfast, streamer: StoreStreamer) -> None:
    """`hf.cancel` from anywhere stops the generator, and viewers are told that it was stopped."""
    model = Model(go=False)
    model.step()
    viewer = asyncio.create_task(collect(streamer.stream("chat", model)))
    await collect(streamer.stream("chat"), 1)
    assert await hf.cancel("chat") == "cancelled"
    events = await viewer
    assert (texts(events), reason(events[-1])) == (WORDS[:1], "cancelled")
    await until(lambda: model.closed == 1)
    assert isinstance(streamer.store, NatsStore)
    assert not streamer.store._sessions, "a run that is over is forgotten"


async def test_one_subscription_per_session_however_many_viewers(
    hf: holdfast.Holdfast, streamer: StoreStreamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted at the SDK's own `read`, which each costs a subscription and a request a second."""
    read, readers = hf.read, []
    monkeypatch.setattr(hf, "read", lambda *a, **k: readers.append(a) or read(*a, **k))
    model = Model(go=False)
    viewers = [asyncio.create_task(collect(streamer.stream("chat", model))) for _ in range(50)]
    await asyncio.sleep(0.2)
    model.step(len(WORDS) + 1)
    for viewer in viewers:
        assert texts(await viewer) == WORDS
    assert len(readers) == 1


async def test_the_factory_connects_by_the_environment(provisioned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_NATS_URL", provisioned)
    made = get_streamer("nats", end_marker="[DONE]")
    assert isinstance(made, NatsSSEStreamer)
    assert texts(await collect(made.stream("chat", Model()))) == WORDS
    await made.aclose()


async def test_a_log_that_is_away_is_an_error_and_the_generator_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the SDK's in-memory twin, which can be taken away without waiting for time-outs of a network."""
    monkeypatch.setattr(nats_log, "PATIENCE_SECONDS", 0.2)
    broker = MemoryBroker()
    async with over(MemoryLog(broker)) as hf:
        made = StoreStreamer(NatsStore(hf), owns_store=True)
        broker.offline = True
        generator = Model()()
        with pytest.raises(StoreUnavailable):
            await collect(made.stream("chat", generator))
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        with pytest.raises(StoreUnavailable):
            await made.push("chat", "a")
        broker.offline = False
        assert texts(await collect(made.stream("chat", Model()))) == WORDS
        await made.aclose()


async def test_a_whole_run_of_another_between_the_look_and_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the answer then: ours does not run the model again, and viewers get that one answer."""
    broker = MemoryBroker()
    async with over(MemoryLog(broker)) as hf:
        other, made = StoreStreamer(NatsStore(hf)), StoreStreamer(NatsStore(hf))
        look, mine = nats_store.catch_up, Model(["mine"])

        async def then_another(*where: Any, **options: Any) -> list[Record]:
            seen = await look(*where, **options)
            monkeypatch.setattr(nats_store, "catch_up", look)
            await collect(other.stream("chat", Model(["other"])))
            return seen

        monkeypatch.setattr(nats_store, "catch_up", then_another)
        for streamer in (made, other, made):
            events = await collect(streamer.stream("chat", mine))
            assert (texts(events), names(events)[-1]) == (["other"], "end")
        assert mine.started == 0
        for streamer in (made, other):
            await streamer.aclose()


@pytest.mark.parametrize("plain", ["chat-42", "A_b-9", "x" * 128])
def test_usable_ids_stay_what_they_are(plain: str) -> None:
    """So that a gateway serves the same session under the same name."""
    assert session_name(plain) == plain


@pytest.mark.parametrize("odd", ["", "a b", "ü", "x" * 129, "ü" * 500, "_xYQ", "_h", "\ud800", "a/b", "hf.>", "*"])
def test_other_ids_are_encoded(odd: str) -> None:
    assert session_name(odd) != odd
    assert session_id(session_name(odd)) == session_name(odd)
