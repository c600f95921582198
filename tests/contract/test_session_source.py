"""One suite over every adapter of the `SessionSource` port: in memory, and JetStream on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.wire import Event, Kind, Record, SessionKey
from holdfast.wire.codec import Draft, alive, data, end, start
from holdfast_gateway.broker.embedded import EmbeddedServer
from holdfast_gateway.broker.jetstream import JetStreamSource
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.broker.provision import provision
from holdfast_gateway.ports import Appended, Located, Page, Refused, SessionSource, SourceUnavailable, Unsettled
from tests import sinks

KEY = SessionKey.of("chat-1")
OTHER = SessionKey.of("chat-2", "tenant_b")


@dataclass
class Subject:
    """A source and what the suite does to its broker."""

    source: SessionSource
    purge: Callable[[SessionKey, int], Awaitable[None]]
    reconnect: Callable[[], Awaitable[None]]
    replace: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


class Sink(sinks.Sink):
    """Writes down what it is told, and waits for it."""

    async def until(self, condition: Callable[[Sink], bool], seconds: float = 5.0) -> None:
        await sinks.until(lambda: condition(self), seconds)


async def memory() -> AsyncIterator[Subject]:
    source = MemorySource(sweep_seconds=0.02)

    async def purge(key: SessionKey, upto: int) -> None:
        source.trim(key, upto)

    async def reconnect() -> None:
        source.reconnect()

    async def replace() -> None:
        source.replace()

    async def stop() -> None:
        source.faults.outage = True

    yield Subject(source, purge, reconnect, replace, stop)
    await source.close()


async def jetstream(directory: Path, *, fast: bool) -> AsyncIterator[Subject]:
    server = EmbeddedServer(directory, port=0)
    await server.start()
    assert (await provision([server.url])).ok
    source = JetStreamSource([server.url], sweep_seconds=0.1, fast=fast)
    await source.start()
    assert source.fast is fast
    from holdfast_gateway.broker.jetstream.access import access
    from holdfast_gateway.broker.jetstream.link import Link
    from holdfast_gateway.broker.jetstream.streams import ask

    admin = Link(access([server.url], {}), "contract-admin")
    await admin.connect(5)

    def stream(key: SessionKey) -> str:
        return source._place(key)[1]

    async def purge(key: SessionKey, upto: int) -> None:
        request = {"filter": source.namespace.stored(key), "seq": upto + 1}
        await ask(admin, f"$JS.API.STREAM.PURGE.{stream(key)}", request)

    async def reconnect() -> None:
        before = source.live_link.reconnects
        source.live_link.suspect()
        async with asyncio.timeout(5):
            while source.live_link.reconnects == before or not source.ready:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def replace() -> None:
        await ask(admin, f"$JS.API.STREAM.DELETE.{stream(KEY)}", {})
        assert (await provision([server.url])).ok
        with pytest.raises(SourceUnavailable):
            await source.read(KEY, 1)  # the source notices when something fails

    async def stop() -> None:
        await server.close()

    try:
        yield Subject(source, purge, reconnect, replace, stop)
    finally:
        await source.close()
        await admin.close()
        await server.close()


MEMORY, JETSTREAM, SLOW = "memory", "jetstream", "jetstream, nats-py's own parser"
ALSO_SLOWLY = ("on_all_ways", "goes_on_live", "pour_in", "reconnect", "without_a_broker", "idempotent", "is_silent")
"""What depends on how messages come in; the rest would only be slower."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" in metafunc.fixturenames:
        slow = any(part in metafunc.function.__name__ for part in ALSO_SLOWLY)
        metafunc.parametrize("subject", [MEMORY, JETSTREAM, SLOW] if slow else [MEMORY, JETSTREAM], indirect=True)


@pytest.fixture
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    made = memory() if request.param == MEMORY else jetstream(tmp_path / "nats", fast=request.param == JETSTREAM)
    async for one in made:
        yield one


@pytest.fixture
def source(subject: Subject) -> SessionSource:
    return subject.source


def text(body: str) -> Draft:
    return data([Event(body.encode())])


async def fill(source: SessionSource, count: int, key: SessionKey = KEY, *, other: int = 0) -> list[int]:
    """Append by expected sequence, with messages of another session between."""
    sequences: list[int] = []
    tail = await source.tail(key)
    last = 0 if tail is None else tail.sequence
    for i in range(count):
        for _ in range(other):
            await source.append(OTHER, text("other"), None)
        result = await source.append(key, text(f"c{i}"), last)
        assert isinstance(result, Appended)
        last = result.sequence
        sequences.append(last)
    return sequences


# ------------------------------------------------------------------------------------------------ append


async def test_an_append_tells_its_sequence(source: SessionSource) -> None:
    assert await source.append(KEY, text("a"), 0) == Appended(1)
    assert await source.append(OTHER, text("b"), 0) == Appended(2)
    assert await source.append(KEY, text("c"), 1) == Appended(3)


async def test_an_append_with_a_wrong_expectation_is_refused_with_the_actual_sequence(source: SessionSource) -> None:
    await fill(source, 2)
    assert await source.append(KEY, text("late"), 1) == Refused(2)
    assert await source.append(KEY, text("late"), 0) == Refused(2)
    assert await source.append(OTHER, text("late"), 2) == Refused(0)


async def test_an_append_without_expectation_always_goes_in(source: SessionSource) -> None:
    await fill(source, 1)
    assert await source.append(KEY, text("plain"), None) == Appended(2)
    assert await source.append(KEY, text("plain"), None) == Appended(3)


async def test_a_probe_succeeds_and_stores_nothing(source: SessionSource) -> None:
    await fill(source, 1)
    assert await source.probe(KEY) is True
    assert await source.probe(OTHER) is True
    tail = await source.tail(KEY)
    assert tail is not None
    assert tail.sequence == 1
    assert await source.tail(OTHER) is None


async def test_competing_appends_have_one_winner_each(source: SessionSource) -> None:
    for expected in range(5):
        results = await asyncio.gather(*[source.append(KEY, text("x"), expected) for _ in range(8)])
        assert [r for r in results if isinstance(r, Appended)] == [Appended(expected + 1)]
        assert all(isinstance(r, Appended | Refused | Unsettled) for r in results)


# ------------------------------------------------------------------------------------------------ read, tail


async def test_read_returns_only_this_session_from_the_start_given(source: SessionSource) -> None:
    mine = await fill(source, 5, other=2)
    page = await source.read(KEY, mine[1], 2)
    assert [r.sequence for r in page.records] == mine[1:3]
    assert page.pending == 2
    assert not page.exhausted
    rest = await source.read(KEY, mine[3], 64)
    assert [r.sequence for r in rest.records] == mine[3:]
    assert rest.exhausted


async def test_read_of_nothing_is_an_empty_page(source: SessionSource) -> None:
    assert await source.read(KEY, 1) == Page((), 0)
    mine = await fill(source, 1)
    assert await source.read(KEY, mine[0] + 1) == Page((), 0)


async def test_what_was_written_is_what_is_read_on_all_ways(source: SessionSource) -> None:
    """Every kind of message reads the same on all three ways, headers and body."""
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    drafts = [
        start("tok-1", lease_seconds=30, name="run-7"),
        data(
            [Event("grüß".encode(), "delta"), Event(b"", "delta"), Event(b"\x00\xff\r\n", "other")],
            writer="tok-1",
            run=1,
        ),
        data([Event(b"x" * 70_000)], writer="tok-1", run=1, index=3),
        alive("tok-1", 1),
        Draft(Kind.DATA, b"plain"),
        Draft(Kind.UNKNOWN, b"?", {"Holdfast-Kind": "later"}),
        end("tok-1", 1, index=4, result={"tokens": 3}),
    ]
    last, tails = 0, []
    for draft in drafts:
        result = await source.append(KEY, draft, last)
        assert isinstance(result, Appended)
        last = result.sequence
        tail = await source.tail(KEY)
        assert tail is not None
        tails.append(tail)
    await sink.until(lambda s: len(s.records) == len(drafts))
    page = await source.read(KEY, 1)
    assert list(page.records) == sink.records == tails
    kinds = [Kind.START, Kind.DATA, Kind.DATA, Kind.ALIVE, Kind.DATA, Kind.UNKNOWN, Kind.END]
    assert [r.kind for r in tails] == kinds
    assert tails[1].events == (
        Event("grüß".encode(), "delta"),
        Event(b"", "delta"),
        Event(b"\x00\xff\r\n", "other"),
    )
    assert tails[6].payload == {"result": {"tokens": 3}}
    assert [r.previous for r in tails] == [0, 1, 2, 3, 4, 5, 6]
    assert all(r.time_seconds > 1.7e9 for r in tails)
    feed.close()


# ------------------------------------------------------------------------------------------------ locate


async def test_locate(subject: Subject) -> None:
    source = subject.source
    mine = await fill(source, 4, other=1)
    inc = await source.incarnation(KEY)

    async def where(sequence: int, incarnation: str = inc) -> Located:
        return await source.locate(KEY, incarnation, sequence)

    assert await where(0) is Located.PRESENT
    assert await where(mine[0]) is Located.PRESENT
    assert await where(mine[3]) is Located.PRESENT
    assert await where(mine[1] - 1) is Located.FOREIGN
    assert await where(mine[0], "0ld") is Located.FOREIGN
    assert await where(mine[3] + 1) is Located.FUTURE
    await subject.purge(KEY, mine[1])
    assert await where(mine[0]) is Located.TRIMMED
    assert await where(mine[1]) is Located.CLEAN
    assert await where(mine[2]) is Located.PRESENT
    await subject.purge(KEY, mine[3])
    assert await where(mine[3]) is Located.TRIMMED


# ------------------------------------------------------------------------------------------------ feed


async def test_a_feed_replays_says_so_and_goes_on_live(source: SessionSource) -> None:
    before = await fill(source, 150, other=1)
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    assert sink.told == [*before, "caught up"]
    after = await fill(source, 20)
    await sink.until(lambda s: len(s.records) == 170)
    assert sink.told == [*before, "caught up", *after]
    feed.close()


async def test_a_feed_begins_after_the_sequence_given(source: SessionSource) -> None:
    mine = await fill(source, 10)
    sink = Sink()
    feed = source.open_feed(KEY, sink, after=mine[6])
    await sink.until(lambda s: "caught up" in s.told)
    assert sink.told == [*mine[7:], "caught up"]
    feed.close()


async def test_a_feed_of_a_session_that_begins_later(source: SessionSource) -> None:
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    mine = await fill(source, 3, other=1)
    await sink.until(lambda s: len(s.records) == 3)
    assert sink.told == ["caught up", *mine]
    feed.close()


async def test_a_feed_opened_while_messages_pour_in_is_exact(source: SessionSource) -> None:
    writing = asyncio.create_task(fill(source, 300))
    sinks, feeds = [Sink() for _ in range(20)], []
    for sink in sinks:
        feeds.append(source.open_feed(KEY, sink))
        await asyncio.sleep(0.003)
    sequences = await writing
    for sink in sinks:
        await sink.until(lambda s: len(s.records) >= 300)
        assert sink.sequences == sequences
    for feed in feeds:
        feed.close()


async def test_a_closed_feed_is_silent(source: SessionSource) -> None:
    sink, still = Sink(), Sink()
    feed, other = source.open_feed(KEY, sink), source.open_feed(KEY, still)
    await sink.until(lambda s: "caught up" in s.told)
    await still.until(lambda s: "caught up" in s.told)
    feed.close()
    feed.close()
    await fill(source, 3)
    await still.until(lambda s: len(s.records) == 3)
    assert sink.told == ["caught up"]
    other.close()


async def test_a_feed_may_be_closed_by_its_own_sink(source: SessionSource) -> None:
    class Once(Sink):
        def on_records(self, records: Sequence[Record]) -> None:
            super().on_records(records)
            feed.close()

    await fill(source, 100)
    sink = Once()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: len(s.records) > 0)
    await fill(source, 5)
    await asyncio.sleep(0.05)
    assert "caught up" not in sink.told


async def test_two_sessions_do_not_mix(source: SessionSource) -> None:
    a, b = Sink(), Sink()
    feeds = [source.open_feed(KEY, a), source.open_feed(OTHER, b)]
    mine = await fill(source, 10, other=1)
    await a.until(lambda s: len(s.records) == 10)
    await b.until(lambda s: len(s.records) == 10)
    assert a.sequences == mine
    assert not set(a.sequences) & set(b.sequences)
    for feed in feeds:
        feed.close()


async def test_a_reconnect_is_told_and_loses_nothing(subject: Subject) -> None:
    sink = Sink()
    feed = subject.source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    mine = await fill(subject.source, 5)
    await subject.reconnect()
    mine += await fill(subject.source, 5)
    await sink.until(lambda s: len(s.records) == 10)
    assert sink.sequences == mine
    assert sink.troubles >= 1
    feed.close()


async def test_a_purge_behind_the_feed_changes_nothing_and_one_before_it_is_a_gap(subject: Subject) -> None:
    source = subject.source
    mine = await fill(source, 6)
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    await subject.purge(KEY, mine[2])
    mine += await fill(source, 1)
    await sink.until(lambda s: len(s.records) == 7)
    late = Sink()
    other = source.open_feed(KEY, late, after=mine[1])
    await late.until(lambda s: "caught up" in s.told)
    assert late.told == [("gap", mine[3]), *mine[3:], "caught up"]
    clean = Sink()
    third = source.open_feed(KEY, clean, after=mine[2])
    await clean.until(lambda s: "caught up" in s.told)
    assert clean.told == [*mine[3:], "caught up"]
    assert not [t for t in sink.told if isinstance(t, tuple)]
    for one in (feed, other, third):
        one.close()


async def test_a_session_that_was_emptied_goes_on_with_a_told_gap(subject: Subject) -> None:
    source = subject.source
    mine = await fill(source, 3)
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    await subject.purge(KEY, mine[-1])
    assert await source.append(KEY, text("late"), mine[-1]) == Refused(0)
    again = await source.append(KEY, text("new"), 0)
    assert isinstance(again, Appended)
    await sink.until(lambda s: again.sequence in s.told)
    assert sink.told == [*mine, "caught up", ("gap", again.sequence), again.sequence]
    feed.close()


async def test_another_incarnation_ends_the_feed_and_is_foreign_to_old_cursors(subject: Subject) -> None:
    source = subject.source
    mine = await fill(source, 3)
    old = await source.incarnation(KEY)
    sink = Sink()
    source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    await subject.replace()
    await sink.until(lambda s: s.gone is not None)
    assert await source.incarnation(KEY) != old
    assert await source.locate(KEY, old, mine[0]) is Located.FOREIGN
    assert await source.append(KEY, text("a"), 0) == Appended(1)
    fresh = Sink()
    feed = source.open_feed(KEY, fresh)
    await fresh.until(lambda s: "caught up" in s.told)
    assert fresh.told == [1, "caught up"]
    assert sink.told == [*mine, "caught up"]
    feed.close()


# ------------------------------------------------------------------------------------------------ trouble


async def test_without_a_broker_questions_raise_and_appends_are_unsettled(subject: Subject) -> None:
    source = subject.source
    await fill(source, 1)
    inc = await source.incarnation(KEY)
    sink = Sink()
    feed = source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    assert source.ready
    await subject.stop()
    assert isinstance(await source.append(KEY, text("x"), 1), Unsettled)
    assert await source.probe(KEY) is False
    for question in (source.read(KEY, 1), source.tail(KEY), source.locate(KEY, inc, 1)):
        with pytest.raises(SourceUnavailable):
            await question
    assert not source.ready
    feed.close()


async def test_a_writer_never_heard_has_no_silence(source: SessionSource) -> None:
    assert source.silent_seconds("nobody-1") is None


async def test_close_is_idempotent_and_ends_the_feeds(source: SessionSource) -> None:
    sink = Sink()
    source.open_feed(KEY, sink)
    await sink.until(lambda s: "caught up" in s.told)
    await source.close()
    await source.close()
    assert not source.ready
    with pytest.raises(SourceUnavailable):
        await source.read(KEY, 1)
    assert isinstance(await source.append(KEY, text("x"), None), Unsettled)
