"""The JetStream source against a real server: lost live messages, lost tails, forged headers, dead connections."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.wire import SessionKey
from holdfast_gateway.broker.embedded import EmbeddedServer
from holdfast_gateway.broker.jetstream import JetStreamSource, natspy
from holdfast_gateway.broker.jetstream.access import access
from holdfast_gateway.broker.jetstream.channel import Channel
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.broker.jetstream.streams import ask
from holdfast_gateway.ports import Appended, SourceUnavailable
from tests.sinks import Sink, fill, text, until

KEY = SessionKey.of("chat-1")
VICTIM = SessionKey.of("victim", "tenant_b")


@pytest.fixture
async def source(provisioned: str) -> AsyncIterator[JetStreamSource]:
    source = JetStreamSource([provisioned], sweep_seconds=0.2)
    await source.start()
    yield source
    await source.close()


@pytest.fixture
async def link(provisioned: str) -> AsyncIterator[Link]:
    """A plain client beside the source."""
    link = Link(access([provisioned], {}), "test-client")
    await link.connect(5)
    yield link
    await link.close()


def lose(monkeypatch: pytest.MonkeyPatch, share: float, seed: int) -> dict[str, int]:
    """Throw away this share of what the live subscriptions deliver, as an at-most-once republish may."""
    chance, count = random.Random(seed), {"lost": 0, "seen": 0}
    deliver = Channel.on_live

    def on_live(self: Channel, subject: bytes, block: bytes | None, body: bytes) -> None:
        count["seen"] += 1
        if chance.random() < share:
            count["lost"] += 1
            return
        deliver(self, subject, block, body)

    monkeypatch.setattr(Channel, "on_live", on_live)
    return count


async def test_feeds_are_exact_while_a_tenth_of_live_is_lost_and_feeds_come_and_go(
    source: JetStreamSource, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 200 feeds, opened from where its predecessor stopped, has exactly the producer's records. No consumer."""
    count = lose(monkeypatch, 0.1, seed=7)
    keys = [SessionKey.of(f"chat-{i}") for i in range(8)]
    chance = random.Random(11)
    total = 60

    async def write(key: SessionKey) -> list[int]:
        sequences: list[int] = []
        for i in range(total):
            result = await source.append(key, text(f"c{i}"), sequences[-1] if sequences else 0)
            assert isinstance(result, Appended)
            sequences.append(result.sequence)
            await asyncio.sleep(chance.random() * 0.02)
        return sequences

    async def view(key: SessionKey) -> list[int]:
        """A viewer that goes away and comes back with its last sequence."""
        have: list[int] = []
        while len(have) < total:
            sink = Sink()
            feed = source.open_feed(key, sink, after=have[-1] if have else 0)
            stay = 30 if chance.random() < 0.3 else chance.random() * 0.4
            try:
                missing = total - len(have)
                await until(lambda s=sink, n=missing: len(s.records) >= n, stay)  # type: ignore[misc]
            except TimeoutError:
                pass
            feed.close()
            assert not [told for told in sink.told if isinstance(told, tuple)], "no gap: nothing was trimmed"
            have += sink.sequences
        return have

    views = [(key, asyncio.create_task(view(key))) for key in keys for _ in range(25)]
    wrote = dict(zip(keys, await asyncio.gather(*[write(key) for key in keys]), strict=True))
    for key, task in views:
        assert await task == wrote[key]
    assert count["lost"] > 50
    name = source._place(KEY)[1]
    info = await ask(link, f"$JS.API.STREAM.INFO.{name}", {})
    assert info["state"]["consumer_count"] == 0
    print(f"survived {count}")


async def test_a_lost_last_message_is_found_by_the_tail_check(
    source: JetStreamSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes after it, so no back pointer shows it. Found once when the session enters, once when it is in."""
    sinks = {SessionKey.of(f"chat-{i}"): Sink() for i in range(5)}
    for key, sink in sinks.items():
        source.open_feed(key, sink)
    await until(lambda: all(s.caught_up for s in sinks.values()))
    lasts = {key: (await fill(source, key, 3))[-1] for key in sinks}
    await until(lambda: all(len(s.records) == 3 for s in sinks.values()))
    with monkeypatch.context() as lossy:
        lose(lossy, 1.0, seed=1)
        for key, last in lasts.items():  # silent for less than a sweep: they enter with this message already lost
            lasts[key] = (await fill(source, key, 1, last))[-1]
        await until(lambda: all(len(s.records) == 4 for s in sinks.values()), 3)
        partition = next(iter(source._partitions.values()))
        await until(lambda: all(c.swept for c in partition.channels.values()), 3)
        for key, last in lasts.items():
            lasts[key] = (await fill(source, key, 1, last))[-1]
        await until(lambda: all(len(s.records) == 5 for s in sinks.values()), 3)
    assert all(not [t for t in s.told if isinstance(t, tuple)] for s in sinks.values())


async def test_a_sweep_of_silent_sessions_asks_once_and_gets_no_bodies(
    source: JetStreamSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions with different last sequences cost one small request per round, and nothing in return."""
    sinks = {SessionKey.of(f"chat-{i}"): Sink() for i in range(40)}
    for key, sink in sinks.items():
        source.open_feed(key, sink)
    await until(lambda: all(s.caught_up for s in sinks.values()))
    for key in sinks:
        await fill(source, key, 2)
    partition = next(iter(source._partitions.values()))
    await until(lambda: len(partition.channels) == 40 and all(c.swept for c in partition.channels.values()))
    answers: list[tuple[int, int]] = []
    newest = source._reader.newest

    async def counted(stream: str, subjects: Any, above: int) -> Any:
        answer = await newest(stream, subjects, above)
        answers.append((len(subjects), len(answer[0])))
        return answer

    monkeypatch.setattr(source._reader, "newest", counted)
    await until(lambda: len(answers) >= 3)
    assert set(answers) == {(40, 0)}


async def test_forged_broker_headers_disturb_nobody(source: JetStreamSource, link: Link) -> None:
    """A producer's own Nats-Sequence and Nats-Subject stand before the server's, live and in answers."""
    mine, victim = Sink(), Sink()
    source.open_feed(KEY, mine)
    source.open_feed(VICTIM, victim)
    await until(lambda: mine.caught_up and victim.caught_up)
    forged = {
        "Nats-Sequence": "999999999",
        "Nats-Last-Sequence": "999999998",
        "Nats-Subject": source.namespace.stored(VICTIM),
        "Nats-Stream": "OTHER",
        "Nats-Num-Pending": "77",
        "Nats-UpTo-Sequence": "999999999",
        "Status": "404",
    }
    await link.request(source.namespace.stored(KEY), b"forged", headers=forged)
    await link.request(source.namespace.stored(KEY), b"after it", headers={})
    await until(lambda: len(mine.records) == 2)
    await asyncio.sleep(0.6)  # the sweeper has seen it too
    assert mine.sequences == [1, 2]
    assert victim.told == ["caught up"]
    late = Sink()
    source.open_feed(KEY, late)
    await until(lambda: late.caught_up)
    assert late.sequences == [1, 2]
    assert [bytes(r.events[0].data) for r in late.records] == [b"forged", b"after it"]
    await fill(source, VICTIM, 1)
    await until(lambda: len(victim.records) == 1)


async def test_a_session_has_one_live_subscription_however_many_feeds(source: JetStreamSource) -> None:
    """And none when the last one is closed."""
    before = len(source.live_link._subs)
    sinks = [Sink() for _ in range(5)]
    feeds = [source.open_feed(KEY, sink) for sink in sinks]
    await until(lambda: all(s.caught_up for s in sinks))
    assert len(source.live_link._subs) == before + 1
    await fill(source, KEY, 3)
    await until(lambda: all(s.sequences == [1, 2, 3] for s in sinks))
    for feed in feeds[1:]:
        feed.close()
    await fill(source, KEY, 1, 3)
    await until(lambda: sinks[0].sequences == [1, 2, 3, 4])
    feeds[0].close()
    assert len(source.live_link._subs) == before


async def test_hints_are_heard_per_process_and_forgotten_with_the_connection(
    source: JetStreamSource, link: Link
) -> None:
    assert source.silent_seconds("tok-1") is None
    link.publish(source.namespace.writer_hint("tok"), b"")
    await until(lambda: source.silent_seconds("tok-1") is not None)
    assert source.silent_seconds("tok-2") is not None
    assert source.silent_seconds("other-1") is None
    heard = source.silent_seconds("tok-1")
    assert heard is not None
    assert 0 <= heard < 5
    source.live_link.suspect()
    await until(lambda: source.live_link.reconnects == 1)
    assert source.silent_seconds("tok-1") is None, "what was not heard meanwhile says nothing"


# ------------------------------------------------------------------------------------------------ dead connections


@pytest.mark.parametrize("which", ["live_link", "_read_link"])
@pytest.mark.parametrize("how", ["read loop", "closed", "reconnect task"])
async def test_a_client_that_died_without_a_word_is_replaced(
    source: JetStreamSource, provisioned: str, which: str, how: str
) -> None:
    """nats-py's tasks end silently; `is_connected` may stay true. Feeds go on, and lose nothing."""
    sink = Sink()
    source.open_feed(KEY, sink)
    await until(lambda: sink.caught_up)
    last = (await fill(source, KEY, 2))[-1]
    link: Link = getattr(source, which)
    client = link._client
    assert client is not None
    if how == "read loop":
        assert client._reading_task is not None
        client._reading_task.cancel()
    elif how == "closed":
        await client.close()
    else:
        client._status = type(client).RECONNECTING
        client._reconnection_task = None
    await until(lambda: link.reconnects == 1, 5)
    await until(lambda: source.ready)
    await fill(source, KEY, 2, last)
    await until(lambda: len(sink.records) == 4)
    assert len(sink.told) == 5
    if which == "live_link":
        assert sink.troubles > 0


async def test_a_stopped_server_is_noticed_by_the_first_request_and_forgiven_after(
    source: JetStreamSource, nats_server: EmbeddedServer
) -> None:
    """A frozen process answers nothing and closes nothing."""
    sink = Sink()
    source.open_feed(KEY, sink)
    await until(lambda: sink.caught_up)
    await fill(source, KEY, 1)
    assert nats_server.pid is not None
    os.kill(nats_server.pid, signal.SIGSTOP)
    stat = Path(f"/proc/{nats_server.pid}/stat")
    await until(lambda: stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T")
    try:
        troubles = sink.troubles
        with pytest.raises(SourceUnavailable):
            await source.tail(KEY)
        assert sink.troubles > troubles, "clocks of silence restart"
        assert await source.probe(KEY) is False
    finally:
        os.kill(nats_server.pid, signal.SIGCONT)
    await until(lambda: source.ready, 10)
    await fill(source, KEY, 1, 1)
    await until(lambda: sink.sequences == [1, 2])


async def test_nothing_is_published_late_after_a_reconnect(
    source: JetStreamSource, nats_server: EmbeddedServer
) -> None:
    """What could not be sent is reported unsettled and then not sent: nobody would know of it any more."""
    await fill(source, KEY, 1)
    assert nats_server.pid is not None
    os.kill(nats_server.pid, signal.SIGKILL)
    results = [await source.append(KEY, text("late"), None) for _ in range(20)]
    assert not any(isinstance(r, Appended) for r in results)
    await until(lambda: source.ready, 10)
    tail = await source.tail(KEY)
    assert tail is not None
    assert tail.sequence == 1


async def test_a_server_that_is_down_at_the_start_is_named_in_bounded_time(nats_server: EmbeddedServer) -> None:
    await nats_server.close()
    source = JetStreamSource([nats_server.url], connect_seconds=0.5)
    with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{nats_server.port} within 0.5 s"):
        await source.start()
    assert not source.ready
    with pytest.raises(SourceUnavailable):
        source.open_feed(KEY, Sink())


async def test_streams_that_are_not_there_are_named_with_the_way_out(nats_url: str) -> None:
    with pytest.raises(SourceUnavailable, match="run `holdfast-gateway provision`"):
        await JetStreamSource([nats_url]).start()


async def test_an_unknown_nats_py_is_warned_of_and_works(
    provisioned: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(natspy, "knows", lambda client: "Client._ps is not nats-py's own parser")
    source = JetStreamSource([provisioned])
    with caplog.at_level(logging.WARNING):
        await source.start()
    assert "Client._ps is not nats-py's own parser" in caplog.text
    assert not source.fast
    sink = Sink()
    source.open_feed(KEY, sink)
    await fill(source, KEY, 3)
    await until(lambda: sink.sequences == [1, 2, 3])
    await source.close()


async def test_a_big_session_is_read_in_pages_bounded_in_bytes(source: JetStreamSource) -> None:
    """64 messages of 256 KiB would be 16 MiB in one answer; a page stops at 2 MiB and the next goes on."""
    last = 0
    for _ in range(20):
        result = await source.append(KEY, text("x" * 250_000), last)
        assert isinstance(result, Appended)
        last = result.sequence
    page = await source.read(KEY, 1, 64)
    assert 1 <= len(page.records) <= 9
    assert page.pending == 20 - len(page.records)
    sink = Sink()
    source.open_feed(KEY, sink)
    await until(lambda: sink.caught_up)
    assert sink.sequences == list(range(1, 21))


async def test_lost_tails_larger_than_one_answer_are_all_found(
    source: JetStreamSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail check gets whole messages back, at most 2 MiB at a time: 20 of 250 KB come in three parts."""
    sinks = {SessionKey.of(f"big-{i}"): Sink() for i in range(20)}
    for key, sink in sinks.items():
        source.open_feed(key, sink)
    await until(lambda: all(s.caught_up for s in sinks.values()))
    lose(monkeypatch, 1.0, seed=1)
    for key in sinks:
        assert isinstance(await source.append(key, text("x" * 250_000), 0), Appended)
    newest, looked = await source._reader.newest(
        source._place(KEY)[1], [source.namespace.stored(key) for key in sinks], 0
    )
    assert (len(newest), looked) == (20, 20)
    await until(lambda: all(len(s.records) == 1 for s in sinks.values()), 5)


async def test_close_leaves_no_task_behind(provisioned: str) -> None:
    before = asyncio.all_tasks()
    source = JetStreamSource([provisioned])
    await source.start()
    sinks = [Sink() for _ in range(10)]
    for i, sink in enumerate(sinks):
        source.open_feed(SessionKey.of(f"chat-{i}"), sink)
    await asyncio.sleep(0)
    await source.close()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() - before == set()
