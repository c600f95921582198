"""The streamer on a real redis-server: the whole contract, with both reply protocols, and what is Redis' own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from holdfast.adapters import Event
from holdfast.factory import get_streamer
from holdfast.redis_stream import RedisSSEStreamer
from holdfast.serving import RunLost, StoreStreamer, StoreUnavailable
from holdfast.serving.redis_store import RedisStore
from tests.contract.streamer_contract import WORDS, Make, Model, StreamerContract, collect, names, reason, texts, until
from tests.redis.conftest import RedisServer

PROCESS = Path(__file__).with_name("one_process.py")
_names = itertools.count()


class _OnRedis(StreamerContract):
    client_options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    async def make(self, redis_server: RedisServer) -> AsyncIterator[Make]:
        """Each streamer has a client and a store of its own, as another process would."""
        async with contextlib.AsyncExitStack() as stack:

            async def make(**options: Any) -> StoreStreamer:
                client = await stack.enter_async_context(Redis(port=redis_server.port, **self.client_options))
                streamer = StoreStreamer(RedisStore(client), owns_store=True, **options)
                stack.push_async_callback(streamer.aclose)
                return streamer

            yield make


class TestRedis(_OnRedis):
    """The client as people make it."""


class TestRedisResp2(_OnRedis):
    client_options: ClassVar[dict[str, Any]] = {"protocol": 2}


class TestRedisDecoding(_OnRedis):
    """A client that other code of the application needs with `decode_responses`."""

    client_options: ClassVar[dict[str, Any]] = {"decode_responses": True}


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(port=redis_server.port) as made:
        yield made


@pytest.fixture
def sid() -> str:
    return f"redis-{next(_names)}"


async def calls(client: Redis, command: str) -> int:
    stats = await client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_one_reader_and_one_connection_however_many_viewers(
    client: Redis, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """100 sessions with 10 viewers each, on a pool that raises when more than 20 connections are asked for."""
    async with Redis(port=redis_server.port, max_connections=20) as small:
        streamer = StoreStreamer(RedisStore(small), owns_store=True)
        models = [Model(go=False) for _ in range(100)]
        shown = [0] * 1000

        async def watch(i: int) -> list[str]:
            words = []
            async for e in streamer.stream(f"many-{i % 100}", models[i % 100]):
                shown[i] += 1
                words += texts([e])
            return words

        viewers = [asyncio.create_task(watch(i)) for i in range(1000)]
        for model in models:
            model.step()
        await until(lambda: min(shown) == 1)
        blocked = set()
        for _ in range(20):
            blocked.add((await client.info("clients"))["blocked_clients"])
            await asyncio.sleep(0.01)
        before = await calls(client, "xread")
        for model in models:
            model.step()
        await until(lambda: min(shown) == 2)
        used = await calls(client, "xread") - before
        for model in models:
            model.step(len(WORDS))
        for viewer in viewers:
            assert await viewer == WORDS
        assert max(blocked) == 1
        assert used <= 200, "the readings grow with the sessions' events, not with the viewers"
        assert caplog.text == ""
        await streamer.aclose()


async def test_two_calls_start_one_generator_across_processes(redis_server: RedisServer, sid: str) -> None:
    """Five processes, released at the same moment; each tells whether its generator ran and what it saw."""
    results = await in_processes(redis_server.port, sid, 5)
    assert sum(started for started, _ in results) == 1
    for _, seen in results:
        assert seen == "a b c | message message message end"


async def in_processes(port: int, sid: str, n: int) -> list[tuple[int, str]]:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROCESS), str(port), sid),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(n)
    ]
    for p in processes:
        assert p.stdout is not None
        assert await p.stdout.readline() == b"ready\n"
    for p in processes:
        assert p.stdin is not None
        p.stdin.write(b"go\n")
    results = []
    for p in processes:
        out, _ = await p.communicate()
        started, seen = out.decode().strip().split(" ", 1)
        results.append((int(started), seen))
    return results


async def test_a_killed_producer_is_told_as_a_failure(client: Redis, redis_server: RedisServer, sid: str) -> None:
    """SIGKILL in the middle of the answer: its viewers elsewhere are told within the lease and the look-up interval."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROCESS), str(redis_server.port), sid, "hang"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    process.stdin.write(b"go\n")
    streamer = StoreStreamer(RedisStore(client, lease_seconds=1), owns_store=True)
    viewer = asyncio.create_task(collect(streamer.stream(sid)))
    assert texts(await collect(streamer.stream(sid), 1)) == ["a"]
    await asyncio.sleep(2.5)
    assert not viewer.done(), "the producer is silent, but it lives and renews its lease"
    process.kill()
    await process.wait()
    async with asyncio.timeout(3):
        events = await viewer
    assert names(events) == ["message", "failed"]
    assert reason(events[1]) == "producer_lost"
    unused = Model()
    assert await collect(streamer.stream(sid, unused)) == events
    assert unused.started == 0
    await streamer.aclose()


async def test_keys_expire(client: Redis, sid: str) -> None:
    """Both keys, also of a session that nobody ends."""
    streamer = StoreStreamer(RedisStore(client, lease_seconds=0.2, idle_seconds=0.2, ttl_seconds=0.5), owns_store=True)
    await collect(streamer.stream(sid, Model()))
    await streamer.push(sid + "-open", "a")
    keys = [k async for k in client.scan_iter(match=f"*{{{sid}*")]
    assert len(keys) == 4
    for key in keys:
        assert 0 < await client.pttl(key) <= 1500
    await asyncio.sleep(1)
    assert not [k async for k in client.scan_iter(match=f"*{{{sid}*")]
    assert texts(await collect(streamer.stream(sid, Model(["anew"])))) == ["anew"]
    await streamer.aclose()


async def test_default_keys_expire_too(client: Redis, sid: str) -> None:
    streamer = get_streamer("redis", redis_client=client)
    await collect(streamer.stream(sid, Model()))
    for key in (f"status:chat:{{{sid}}}", *[k async for k in client.scan_iter(match=f"stream:chat:{{{sid}}}:*")]):
        assert 0 < await client.ttl(key) <= 3600
    await streamer.aclose()


@pytest.mark.parametrize("bound", [{"max_events": 10}, {"max_bytes": 10 * (len("message") + 3)}])
async def test_streams_are_capped_and_a_trimmed_place_is_told(client: Redis, sid: str, bound: dict[str, int]) -> None:
    store = RedisStore(client, **bound)
    streamer = StoreStreamer(store, owns_store=True)
    words = [f"{i:03}" for i in range(35)]
    for word in words:
        await streamer.push(sid, word)
    (key,) = [k async for k in client.scan_iter(match=f"stream:chat:{{{sid}}}:*")]
    assert await client.xlen(key) == 10
    await streamer.mark_end(sid)
    gap, *rest = await collect(streamer.stream(sid))
    assert reason(gap) == "trimmed"
    assert texts(rest) == words[-10:]
    trimmed_id = rest[0]["id"].replace("-26", "-20")
    gap, *again = await collect(streamer.stream(sid, last_id=trimmed_id))
    assert reason(gap) == "trimmed"
    assert again == rest
    just_before = rest[0]["id"].replace("-26", "-25")
    assert await collect(streamer.stream(sid, last_id=just_before)) == rest
    await streamer.aclose()


async def test_a_fast_writer_beyond_the_cap_is_told_to_a_slow_viewer(client: Redis, sid: str) -> None:
    streamer = StoreStreamer(RedisStore(client, max_events=20), ring_bytes=500, owns_store=True)
    await streamer.push(sid, "0")
    viewer = streamer.stream(sid)
    got = [await anext(viewer)]
    for i in range(1, 700):
        await streamer.push(sid, str(i))
    await streamer.mark_end(sid)
    got += [e async for e in viewer]
    assert "gap" in names(got)
    shown = [int(t) for t in texts(got)]
    assert shown == sorted(set(shown))
    assert shown[-1] == 699
    await streamer.aclose()


async def test_an_append_that_is_repeated_is_stored_once(client: Redis, sid: str) -> None:
    """redis-py repeats a command whose reply it did not get."""
    store = RedisStore(client)
    run = await store.begin(sid)
    assert run is not None
    for first, words in ((1, "abc"), (1, "abc"), (2, "bcd"), (4, "d"), (5, "e")):
        await store.append(sid, run, first, [Event(w.encode()) for w in words])
    streamer = StoreStreamer(store, owns_store=True)
    assert texts(await collect(streamer.stream(sid), 5)) == list("abcde")
    await streamer.aclose()


async def test_a_cleared_run_cannot_write_into_the_next(client: Redis, sid: str) -> None:
    one, two = RedisStore(client), RedisStore(client)
    run = await one.begin(sid)
    assert run is not None
    await two.erase(sid)
    assert await two.begin(sid) not in (None, run)
    with pytest.raises(RunLost):
        await one.append(sid, run, 1, [Event(b"old")])
    with pytest.raises(RunLost):
        await one.renew(sid, run)


async def test_a_clear_elsewhere_stops_the_generator_here(client: Redis, sid: str) -> None:
    """Also one that is silent: the lease's renewal finds out."""
    one = StoreStreamer(RedisStore(client, lease_seconds=0.6), owns_store=True)
    two = StoreStreamer(RedisStore(client), owns_store=True)
    model = Model(go=False)
    model.step()
    viewer = one.stream(sid, model)
    assert (await anext(viewer))["data"] == WORDS[0]
    await two.clear(sid)
    assert reason((await collect(viewer))[-1]) == "cleared"
    await until(lambda: model.closed == 1)
    await one.aclose()
    await two.aclose()


async def test_redis_killed_and_back_in_the_middle_of_an_answer(own_redis_server: RedisServer, sid: str) -> None:
    """Nothing lost, nothing doubled; the server writes its log before it answers, so what was answered is there."""
    async with Redis(port=own_redis_server.port) as client:
        streamer = StoreStreamer(RedisStore(client), owns_store=True)
        words = [str(i) for i in range(300)]
        model = Model(words, go=False)
        viewers = [asyncio.create_task(collect(streamer.stream(sid, model))) for _ in range(3)]
        for i in range(len(words) + 1):
            model.step()
            await asyncio.sleep(0.002)
            if i in (80, 160):
                await asyncio.to_thread(own_redis_server.kill)
                await asyncio.sleep(0.1)
                await asyncio.to_thread(own_redis_server.start)
        for viewer in viewers:
            assert texts(await viewer) == words
        await streamer.aclose()


async def test_redis_away_for_good_is_an_error(sid: str, own_redis_server: RedisServer) -> None:
    own_redis_server.kill()
    model = Model()
    async with Redis(port=own_redis_server.port) as client:
        streamer = StoreStreamer(RedisStore(client, lease_seconds=0.4), owns_store=True)
        generator = model()
        with pytest.raises(StoreUnavailable):
            await collect(streamer.stream(sid, generator))
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        await streamer.aclose()


async def test_the_factory_makes_one_with_the_given_prefixes(client: Redis, sid: str) -> None:
    streamer = get_streamer(
        backend="redis", redis_client=client, stream_prefix="s:x", status_prefix="t:x", end_marker="[DONE]"
    )
    assert isinstance(streamer, RedisSSEStreamer)
    assert (streamer.stream_prefix, streamer.status_prefix, streamer.end_marker) == ("s:x", "t:x", "[DONE]")
    assert texts(await collect(streamer.stream(sid, Model()))) == WORDS
    assert await client.exists(f"t:x:{{{sid}}}") == 1
    await streamer.aclose()
