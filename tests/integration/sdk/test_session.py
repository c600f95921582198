"""Sessions over a real nats-server: what is written is what is read, and every way a run can end."""

# ruff: noqa: PT012

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

import pytest

import holdfast
from holdfast.testing import NatsServer, create_streams


async def texts(hf: holdfast.Holdfast, sid: str, cursor: str | None = None) -> list[str]:
    return [e.text async for e in hf.read(sid, cursor) if not e.control]


async def story(hf: holdfast.Holdfast, sid: str) -> list[str]:
    """The control events, without the prefix."""
    return [e.type.removeprefix("session.") async for e in hf.read(sid) if e.control]


async def last(hf: holdfast.Holdfast, sid: str) -> tuple[str, dict[str, object]]:
    events = [e async for e in hf.read(sid)]
    return events[-1].type, events[-1].json()


async def test_written_is_read(hf: holdfast.Holdfast, sid: str) -> None:
    """Text, bytes and JSON values, coalesced or not, come out as they went in."""
    async with hf.session(sid) as s:
        s.write("a")
        s.write(b"b\xff")
        s.write({"x": [1, None]}, "delta")
        await s.write_async("ü🦉")
        await s.drain()
        assert s.pending_events == 0
        assert s.stored_events == 4
    events = [e async for e in hf.read(sid)]
    assert [(e.type, e.data) for e in events[1:-1]] == [
        ("message", b"a"), ("message", b"b\xff"), ("delta", b'{"x":[1,null]}'), ("message", "ü🦉".encode()),
    ]  # fmt: skip
    assert events[-1].type == "session.end"
    assert len({e.id for e in events}) == len(events)


async def test_cursor_of_a_session_is_just_before_its_run(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid) as s:
        s.write("first")
    async with hf.session(sid) as s:
        s.write("second")
    assert await texts(hf, sid, s.cursor) == ["second"]
    assert await texts(hf, sid) == ["first", "second"]


async def test_read_goes_on_behind_any_event(hf: holdfast.Holdfast, sid: str) -> None:
    """Also in the middle of a coalesced message."""
    async with hf.session(sid) as s:
        for i in range(10):
            s.write(str(i))
    events = [e async for e in hf.read(sid)]
    for at, event in enumerate(events[:-1]):
        assert [e async for e in hf.read(sid, event.id)] == events[at + 1 :]


async def test_follow_sees_the_next_run(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    got: list[str] = []

    async def follow() -> None:
        async for e in hf2.read(sid, follow=True):
            got.append(e.type if e.control else e.text)
            if got.count("session.end") == 2:
                return

    reading = asyncio.create_task(follow())
    for text in ("one", "two"):
        async with hf.session(sid) as s:
            s.write(text)
    async with asyncio.timeout(5):
        await reading
    assert got == ["session.start", "one", "session.end", "session.start", "two", "session.end"]


async def test_read_of_nothing(hf: holdfast.Holdfast, sid: str) -> None:
    with pytest.raises(holdfast.SessionNotFound):
        _ = [e async for e in hf.read(sid, wait_seconds=0.1)]


async def test_read_waits_for_its_producer(hf: holdfast.Holdfast, sid: str) -> None:
    reading = asyncio.create_task(texts(hf, sid))
    await asyncio.sleep(0.1)
    await hf.pipe(sid, ["late"])
    async with asyncio.timeout(5):
        assert await reading == ["late"]


@pytest.mark.parametrize(("cursor", "reason"), [("zzz-3", "foreign"), ("{inc}-999999999", "future")])
async def test_cursors_that_cannot_be_continued_say_so(
    hf: holdfast.Holdfast, sid: str, cursor: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never replayed or skipped in silence."""
    monkeypatch.setattr(holdfast.reading, "BELIEVE_SECONDS", 0.3)
    async with hf.session(sid) as s:
        s.write("a")
    cursor = cursor.format(inc=s.cursor.partition("-")[0])
    events = [e async for e in hf.read(sid, cursor)]
    assert (events[0].type, events[0].id, events[0].json()["reason"]) == ("session.gap", None, reason)
    assert [e.text for e in events if not e.control] == ["a"]


async def test_cursor_of_another_session_is_foreign(hf: holdfast.Holdfast, sid: str) -> None:
    """A sequence of the same stream, between two of ours, that is somebody else's message."""
    ours = hf._place(sid).stream
    sibling = next(n for i in range(100) if hf._place(n := f"{sid}-sibling-{i}").stream == ours)
    async with hf.session(sid) as s:
        async with hf.session(sibling) as other:
            pass
    wrong = f"{s.cursor.partition('-')[0]}-{other.run}"
    events = [e async for e in hf.read(sid, wrong)]
    assert [e.type for e in events] == ["session.gap", "session.start", "session.end"]
    assert events[0].json()["reason"] == "foreign"


async def test_result_on_end(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid) as s:
        s.write("a")
        await s.end({"usage": {"tokens": 3}})
        with pytest.raises(holdfast.SessionClosed):
            s.write("b")
    assert await last(hf, sid) == ("session.end", {"run": s.run, "result": {"usage": {"tokens": 3}}})


async def test_exception_fails_the_run_with_its_class_and_nothing_more(hf: holdfast.Holdfast, sid: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with hf.session(sid) as s:
            s.write("before")
            raise ZeroDivisionError("secret: sk-123")
    kind, data = await last(hf, sid)
    assert kind == "session.failed"
    assert data == {"run": s.run, "reason": "producer_error", "message": "ZeroDivisionError"}
    assert await texts(hf, sid) == ["before"]


async def test_failure_text_the_caller_chose(hf: holdfast.Holdfast, sid: str) -> None:
    with pytest.raises(KeyError):
        async with hf.session(sid, failure_message=lambda e: f"no {e}"):
            raise KeyError("model")
    assert (await last(hf, sid))[1]["message"] == "no 'model'"


async def test_cancelled_task_is_told_as_producer_stopped(hf: holdfast.Holdfast, sid: str) -> None:
    async def work() -> None:
        async with hf.session(sid) as s:
            s.write("a")
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kind, data = await last(hf, sid)
    assert (kind, data["reason"]) == ("session.failed", "producer_stopped")
    assert await texts(hf, sid) == ["a"]


async def test_closing_the_connection_stops_open_runs(url: str, hf: holdfast.Holdfast, sid: str) -> None:
    async with holdfast.connect(url, handle_sigterm=False) as other:
        s = await other.session(sid).open()
        s.write("a")
    assert (await last(hf, sid))[1]["reason"] == "producer_stopped"


async def test_second_session_fences_the_first(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    with pytest.raises(holdfast.SessionFenced) as caught:
        async with hf.session(sid) as s:
            s.write("a")
            await s.drain()
            async with hf2.session(sid) as s2:
                s2.write("b")
            s.write("zombie")
            await s.drain()
    assert (caught.value.reason, caught.value.stored_events) == ("superseded", 1)
    assert await texts(hf, sid) == ["a", "b"]
    assert await story(hf, sid) == ["start", "failed", "start", "end"]


async def test_fenced_after_the_last_write_is_still_told(
    hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str
) -> None:
    """A block that ends well without its run having ended well raises."""
    with pytest.raises(holdfast.SessionFenced):
        async with hf.session(sid):
            async with hf2.session(sid):
                pass


async def test_if_open_raise(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid, if_open="raise") as s:
        with pytest.raises(holdfast.SessionOpen) as caught:
            async with hf2.session(sid, if_open="raise"):
                pass
        assert caught.value.run == s.run
    async with hf2.session(sid, if_open="raise"):
        pass
    assert await story(hf, sid) == ["start", "end", "start", "end"]


async def test_takeover(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    old = await hf.session(sid, run_id="turn-1").open()
    old.write("a")
    await old.drain()
    async with hf2.resume(sid) as s:
        assert s.run_id == "turn-1"
        assert [e.text for e in s.history] == ["a"]
        assert s.cursor == old.cursor
        s.write("b")
        await s.drain()
        old.write("zombie")
        with pytest.raises(holdfast.SessionFenced, match="taken_over"):
            await old.drain()
    assert await texts(hf, sid) == ["a", "b"]
    assert await story(hf, sid) == ["start", "end"]


async def test_a_silent_writer_learns_at_once_that_it_was_taken_over(
    hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str
) -> None:
    old = await hf.session(sid).open()
    async with hf2.resume(sid):
        async with asyncio.timeout(2):
            while not old.closed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert isinstance(old.error, holdfast.SessionFenced)


async def test_of_two_takeovers_at_once_exactly_one_wins(hf: holdfast.Holdfast, sid: str) -> None:
    old = await hf.session(sid).open()
    results = await asyncio.gather(*(hf.resume(sid).open() for _ in range(2)), return_exceptions=True)
    (winner,) = [r for r in results if isinstance(r, holdfast.Session)]
    assert all(isinstance(r, holdfast.SessionFenced) for r in results if r is not winner)
    await winner.end()
    with pytest.raises(holdfast.SessionFenced):
        await old.end()


async def test_of_many_takeovers_one_holds_the_run_in_the_end(hf: holdfast.Holdfast, sid: str) -> None:
    """Who looks after another has won takes over from that one: the log decides, and one can write."""
    await hf.session(sid).open()
    results = await asyncio.gather(*(hf.resume(sid).open() for _ in range(20)), return_exceptions=True)
    opened = [r for r in results if isinstance(r, holdfast.Session)]
    ends = await asyncio.gather(*(s.end() for s in opened), return_exceptions=True)
    assert ends.count(None) == 1
    assert all(e is None or isinstance(e, holdfast.SessionFenced) for e in ends)


async def test_nothing_to_resume(hf: holdfast.Holdfast, sid: str) -> None:
    with pytest.raises(holdfast.NotResumable):
        await hf.resume(sid).open()


async def test_reset(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid) as s:
        s.write("wrong")
        await s.drain()
        s.reset()
        s.write("right")
    assert [e.type if e.control else e.text async for e in hf.read(sid)] == [
        "session.start", "wrong", "session.reset", "right", "session.end",
    ]  # fmt: skip


async def test_plain_nats_messages_between_ours_do_not_fence(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid) as s:
        for i in range(5):
            s.write(str(i))
            await s.drain()
            hf._log.hint(s._place.stored, b"plain")
            await asyncio.sleep(0.02)
    assert [t for t in await texts(hf, sid) if t != "plain"] == [str(i) for i in range(5)]


async def test_cancel_of_a_silent_writer_is_told_at_once(
    hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str
) -> None:
    """A model that thinks learns by a nudge, not at its next renewal."""
    called: list[int] = []

    async def later() -> None:
        called.append(2)

    async with hf.session(sid) as s:
        s.on_cancel(lambda: called.append(1))
        s.on_cancel(later)
        s.write("a")
        await s.drain()
        assert await hf2.cancel(sid, reason="user pressed stop") == "cancelled"
        async with asyncio.timeout(1.0):
            await s.cancelled.wait()
        with pytest.raises(holdfast.SessionCancelled) as caught:
            s.write("b")
        assert caught.value.reason == "user pressed stop"
    await asyncio.sleep(0.01)
    assert sorted(called) == [1, 2]
    assert await last(hf, sid) == ("session.cancelled", {"run": s.run, "reason": "user pressed stop"})
    assert await texts(hf, sid) == ["a"]


async def test_cancel_wins_against_a_busy_writer(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    async def busy() -> None:
        async with hf.session(sid, min_publish_interval_seconds=0) as s:
            while True:
                s.write("token")
                await s.drain()

    writing = asyncio.create_task(busy())
    await asyncio.sleep(0.1)
    assert await hf2.cancel(sid) == "cancelled"
    with pytest.raises(holdfast.SessionCancelled):
        async with asyncio.timeout(2):
            await writing
    assert await story(hf, sid) == ["start", "cancelled"]


async def test_cancels_of_what_is_not_open(hf: holdfast.Holdfast, sid: str) -> None:
    assert await hf.cancel(sid) == "not_open"
    async with hf.session(sid, run_id="turn-1") as s:
        pass
    assert await hf.cancel(sid) == "not_open"
    assert await hf.cancel(sid, s.run) == "not_open"
    assert await hf.cancel(sid, "turn-1") == "not_open"
    assert await story(hf, sid) == ["start", "end"]


async def test_cancel_before_the_start(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    assert await hf2.cancel(sid, "turn-1") == "pending"
    assert await hf2.cancel(sid, "turn-1") == "pending"
    with pytest.raises(holdfast.SessionCancelled):
        async with hf.session(sid, run_id="turn-1") as s:
            s.write("never")
    assert await story(hf, sid) == ["start", "cancelled"]


async def test_two_cancels_at_once_stop_one_run_once(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid):
        told = await asyncio.gather(hf.cancel(sid), hf2.cancel(sid))
    assert set(told) <= {"cancelled", "not_open"}
    assert "cancelled" in told
    assert await story(hf, sid) == ["start", "cancelled"]


async def test_erase(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    """The content is gone, the writer is fenced, a viewer that knew it is told."""
    with pytest.raises(holdfast.SessionFenced, match="erased"):
        async with hf.session(sid) as s:
            s.write("personal")
            await s.drain()
            await hf2.erase(sid)
            s.write("more")
    assert await texts(hf, sid) == []
    assert (await hf.state(sid)).status == "erased"


async def test_pipe_async_sync_and_values(hf: holdfast.Holdfast, sid: str) -> None:
    async def model() -> object:
        for word in ("x", {"y": 1}, b"z"):
            yield word

    result = await hf.pipe(sid, model(), result={"ok": True})
    assert (result.status, result.events) == ("ended", 3)
    await hf.pipe(sid, (str(i) for i in range(3)))
    assert await texts(hf, sid) == ["x", '{"y":1}', "z", "0", "1", "2"]


async def test_cancel_interrupts_a_piped_model_and_closes_it(
    hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str
) -> None:
    closed = asyncio.Event()

    async def model() -> object:
        try:
            yield "a"
            await asyncio.sleep(60)
        finally:
            closed.set()

    piping = asyncio.create_task(hf.pipe(sid, model()))
    async with contextlib.aclosing(hf2.read(sid)) as events:
        async for event in events:
            if event.text == "a":
                break
    await hf2.cancel(sid)
    async with asyncio.timeout(2):
        result = await piping
    assert (result.status, closed.is_set()) == ("cancelled", True)


async def test_fence_interrupts_a_piped_model(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    closed = asyncio.Event()

    async def model() -> object:
        try:
            while True:
                yield "a"
                await asyncio.sleep(0.005)
        finally:
            await asyncio.sleep(0.01)
            closed.set()

    piping = asyncio.create_task(hf.pipe(sid, model()))
    await asyncio.sleep(0.1)
    async with hf2.session(sid):
        pass
    with pytest.raises(holdfast.SessionFenced):
        async with asyncio.timeout(2):
            await piping
    assert closed.is_set()


async def test_model_failure_fails_the_run_and_is_raised(hf: holdfast.Holdfast, sid: str) -> None:
    async def model() -> object:
        yield "a"
        raise TimeoutError("upstream")

    with pytest.raises(TimeoutError, match="upstream"):
        await hf.pipe(sid, model())
    assert await last(hf, sid) == (
        "session.failed",
        {"run": (await hf.state(sid)).run, "reason": "producer_error", "message": "TimeoutError"},
    )


async def test_launch_outlives_its_request(hf: holdfast.Holdfast, sid: str) -> None:
    task = hf.launch(sid, ["a", "b"])
    assert await texts(hf, sid) == ["a", "b"]
    assert (await task).status == "ended"


async def test_buffer_full_names_the_way_out(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid, buffer_events=3) as s:
        for _ in range(3):
            s.write("x")
        with pytest.raises(holdfast.BufferFull, match="write_async"):
            s.write("y")
        await s.write_async("y")
        await s.drain()
        s.write("z")
    assert await texts(hf, sid) == ["x", "x", "x", "y", "z"]


async def test_drain_covers_what_was_written_before_it(hf: holdfast.Holdfast, sid: str) -> None:
    """Also while others keep writing."""
    async with hf.session(sid) as s:
        stop = asyncio.Event()

        async def noise() -> None:
            while not stop.is_set():
                s.write("n")
                await asyncio.sleep(0)

        noisy = asyncio.create_task(noise())
        await asyncio.sleep(0.02)
        known = s.stored_events + s.pending_events
        async with asyncio.timeout(2):
            await s.drain()
        assert s.stored_events >= known
        stop.set()
        await noisy


async def test_event_over_the_limit_is_refused_before_anything_is_sent(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid) as s:
        with pytest.raises(holdfast.EventTooLarge):
            s.write("x" * 300_000)
        s.write("y" * 262_144)
    assert [len(t) for t in await texts(hf, sid)] == [262_144]


async def test_smaller_server_limit_is_known(own_broker: Callable[..., NatsServer], sid: str) -> None:
    """max_payload of the server bounds an event too."""
    server = own_broker(config="max_payload: 65536")
    await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        async with hf.session(sid) as s:
            with pytest.raises(holdfast.EventTooLarge):
                s.write("x" * 60_000)
            for _ in range(10):
                s.write("y" * 30_000)
        assert len(await texts(hf, sid)) == 10


async def test_alive_keeps_a_thinking_writer(hf: holdfast.Holdfast, sid: str) -> None:
    async with hf.session(sid, lease_seconds=0.3) as s:
        await asyncio.sleep(0.5)
        assert s._writer.expected > s.run
    assert await story(hf, sid) == ["start", "end"]


async def test_heartbeat_hint_names_the_process(hf: holdfast.Holdfast, hf2: holdfast.Holdfast, sid: str) -> None:
    heard = asyncio.Event()
    async with hf.session(sid) as s:
        subject = hf2._log.namespace.writer_hint(s.writer_id.partition("-")[0])
        watch = await hf2._log.watch(subject, lambda _: heard.set())
        async with asyncio.timeout(3):
            await heard.wait()
        await watch.stop()


async def test_state_is_derived_from_the_log(hf: holdfast.Holdfast, sid: str) -> None:
    assert (await hf.state(sid)).status == "none"
    async with hf.session(sid, run_id="r") as s:
        state = await hf.state(sid)
        assert (state.status, state.run, state.name, state.writer) == ("open", s.run, "r", s.writer_id)
    assert (await hf.state(sid)).status == "ended"


async def test_five_hundred_sessions_of_one_process(hf: holdfast.Holdfast, sid: str) -> None:
    """No task per session: what they cost is what they write."""
    before = len(asyncio.all_tasks())
    sessions = await asyncio.gather(*(hf.session(f"{sid}-{i}").open() for i in range(500)))
    assert len(asyncio.all_tasks()) - before < 5
    for n in range(5):
        for s in sessions:
            s.write(str(n))
        await asyncio.sleep(0.01)
    await asyncio.gather(*(s.end() for s in sessions))
    for i in range(0, 500, 50):
        assert await texts(hf, f"{sid}-{i}") == list("01234")


def test_json_of_controls_is_an_object() -> None:
    event = holdfast.StreamEvent(None, "session.gap", json.dumps({"reason": "x"}).encode())
    assert event.json()["reason"] == "x"
    assert event.control
