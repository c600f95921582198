"""The sync facade: threads, forks, interpreter exit, signals, all over a real server."""

# ruff: noqa: PT012

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import holdfast
import holdfast.sync


@pytest.fixture
def sf(url: str) -> Iterator[holdfast.sync.Holdfast]:
    with holdfast.sync.connect(url) as client:
        yield client


def texts(hf: holdfast.sync.Holdfast, sid: str) -> list[str]:
    return [e.text for e in hf.read(sid) if not e.control]


def test_written_is_read(sf: holdfast.sync.Holdfast, sid: str) -> None:
    with sf.session(sid) as s:
        for i in range(500):
            s.write(str(i))
        s.drain()
        assert (s.pending_events, s.stored_events) == (0, 500)
        s.write_wait({"last": True}, "note")
    assert texts(sf, sid) == [*map(str, range(500)), '{"last":true}']
    assert sf.state(sid).status == "ended"


def test_two_hundred_threads_share_one_loop(sf: holdfast.sync.Holdfast, sid: str) -> None:
    before = threading.active_count()

    def work(n: int) -> None:
        with sf.session(f"{sid}-{n}") as s:
            for i in range(20):
                s.write(str(i))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(work, range(200)))
    assert threading.active_count() <= before + 1
    for n in range(0, 200, 20):
        assert texts(sf, f"{sid}-{n}") == [str(i) for i in range(20)]


def test_one_session_written_by_many_threads_loses_nothing(sf: holdfast.sync.Holdfast, sid: str) -> None:
    with sf.session(sid) as s, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: s.write(str(i)), range(4000)))
    assert sorted(map(int, texts(sf, sid))) == list(range(4000))


def test_full_buffer(sf: holdfast.sync.Holdfast, sid: str) -> None:
    with sf.session(sid, buffer_events=2, min_publish_interval_seconds=0.2) as s:
        s.write("a")
        s.drain()
        s.write("b")
        s.write("c")
        with pytest.raises(holdfast.BufferFull):
            s.write("d")
        s.write_wait("d")
    assert texts(sf, sid) == ["a", "b", "c", "d"]


def test_failures_and_fences_are_the_same_errors(sf: holdfast.sync.Holdfast, sid: str) -> None:
    with pytest.raises(ZeroDivisionError):
        with sf.session(sid):
            raise ZeroDivisionError
    last = list(sf.read(sid))[-1]
    assert (last.type, last.json()["message"]) == ("session.failed", "ZeroDivisionError")
    with pytest.raises(holdfast.SessionFenced):
        with sf.session(sid) as s, sf.session(sid):
            s.write("zombie")
            s.drain()
    with pytest.raises(SystemExit):
        with sf.session(sid):
            sys.exit(3)
    assert list(sf.read(sid))[-1].json()["reason"] == "producer_stopped"


def test_pipe_runs_the_generator_in_the_calling_thread_and_closes_it(sf: holdfast.sync.Holdfast, sid: str) -> None:
    seen: list[object] = []

    def model() -> Iterator[object]:
        seen.append(threading.current_thread())
        try:
            yield "a"
            yield "é".encode()[:1]
            yield "é".encode()[1:]
            yield {"x": 1}
        finally:
            seen.append("closed")

    result = sf.pipe(sid, model(), result="fine")
    assert seen == [threading.current_thread(), "closed"]
    assert (result.status, result.events) == ("ended", 3)
    assert texts(sf, sid) == ["a", "é", '{"x":1}']


def test_cancel_stops_the_loop(sf: holdfast.sync.Holdfast, sid: str) -> None:
    closed: list[int] = []

    def model() -> Iterator[str]:
        try:
            yield "a"
            threading.Event().wait(0.1)
            sf.cancel(sid)
            while True:
                yield "b"
                threading.Event().wait(0.01)
        finally:
            closed.append(1)

    assert sf.pipe(sid, model()).status == "cancelled"
    assert closed == [1]


def test_takeover_and_follow(sf: holdfast.sync.Holdfast, sid: str) -> None:
    old = sf.session(sid).open()
    old.write("a")
    old.drain()
    with sf.resume(sid) as s:
        assert [e.text for e in s.history] == ["a"]
        s.reset()
        s.write("b")
    assert [e.type for e in sf.read(sid)][-3:] == ["session.reset", "message", "session.end"]
    follow = sf.read(sid, follow=True)
    assert next(follow).type == "session.start"
    follow.close()


def test_inside_the_loop_it_refuses_instead_of_waiting_for_itself(sf: holdfast.sync.Holdfast, sid: str) -> None:
    told: list[BaseException] = []

    def callback() -> None:
        try:
            sf.state(sid)
        except RuntimeError as error:
            told.append(error)

    with sf.session(sid) as s:
        s.on_cancel(callback)
        sf.cancel(sid)
        assert s.cancelled.wait(2)
        while not told:
            threading.Event().wait(0.01)
    assert "would wait for itself" in str(told[0])


def child(script: str, url: str, sid: str, *, kill: int | None = None) -> tuple[int, str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, url, sid],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            if kill is not None:
                assert process.stdout.readline() == "ready\n"
                process.send_signal(kill)
            out, _ = process.communicate(timeout=20)
        except BaseException:
            process.kill()
            raise
    return process.returncode, out


def test_fork(sf: holdfast.sync.Holdfast, url: str, sid: str) -> None:
    """A child connects anew, cannot write its parent's run, and its exit ends nothing of the parent's."""
    script = """
import os, sys, holdfast.sync
url, sid = sys.argv[1:]
with holdfast.sync.connect(url) as hf:
    with hf.session(sid) as s:
        s.write("before")
        s.drain()
        pid = os.fork()
        if pid == 0:
            try:
                s.write("from the child")
            except RuntimeError as error:
                assert "belongs to process" in str(error)
            with hf.session(sid + "-child") as mine:
                mine.write("child")
        else:
            assert os.waitpid(pid, 0)[1] == 0
            s.write("after")
            s.drain()
            print([e.text for e in hf.read(sid + "-child") if not e.control])
"""
    assert child(script, url, sid) == (0, "['child']\n")
    assert texts(sf, sid) == ["before", "after"]
    assert sf.state(sid).status == "ended"
    assert texts(sf, f"{sid}-child") == ["child"]


@pytest.mark.parametrize("how", ["exit", "sigterm"])
def test_a_process_that_goes_tells_its_open_runs(sf: holdfast.sync.Holdfast, url: str, sid: str, how: str) -> None:
    """At the interpreter's exit and on SIGTERM, without any `with` being left."""
    script = """
import sys, time, holdfast.sync
url, sid = sys.argv[1:]
hf = holdfast.sync.connect(url)
s = hf.session(sid).open()
s.write("half")
print("ready", flush=True)
"""
    if how == "sigterm":  # not one long sleep: a signal just before its system call would wait for its end
        script += "for _ in range(2000): time.sleep(0.01)"
    status, out = child(script, url, sid, kill=signal.SIGTERM if how == "sigterm" else None)
    assert (status, out) == ((0, "ready\n") if how == "exit" else (-signal.SIGTERM, ""))
    events = list(sf.read(sid))
    assert [e.text for e in events if not e.control] == ["half"]
    assert events[-1].json()["reason"] == "producer_stopped"


def test_pid_of_the_child_is_checked_not_assumed(sf: holdfast.sync.Holdfast, sid: str) -> None:
    with sf.session(sid) as s:
        s._pid = os.getpid() + 1
        with pytest.raises(RuntimeError, match="belongs to process"):
            s.write("x")
        s._pid = os.getpid()
