"""One suite of behaviours over both ways out, on both loops, against a real uvicorn and real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from holdfast_gateway.runtime.api import HubSettings
from tests.integration.streaming.serving import Served, Wire
from tests.unit.runtime.clients import parse

BOTH = [("handover", "uvloop"), ("handover", "asyncio"), ("httptools", "uvloop"), ("h11", "asyncio")]


@pytest.fixture(params=BOTH, ids=["-".join(pair) for pair in BOTH])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    way, loop = request.param
    with Served(way, loop) as running:
        yield running


def story(served: Served) -> bytes:
    """A session's life, and all that a viewer who was there from the beginning has got."""
    with Wire(served) as viewer:
        served.start("chat")
        served.say("chat", "before", "the viewer")
        viewer.get("/s/chat", "Connection: close")
        viewer.read_until(b"the viewer")
        served.say("chat", "live\nin two lines", b"\xff\r\n", "")
        viewer.read_until(b"in two lines")
        served.say("chat", "x" * 100_000)
        served.end("chat")
        viewer.read_to_end()
        assert viewer.head.startswith(b"HTTP/1.1 200")
        assert viewer.received.endswith(b"\r\n0\r\n\r\n"), "the body ends as HTTP says"
        return viewer.body


def test_every_way_sends_the_same_bytes() -> None:
    bodies = {}
    for way, loop in BOTH:
        with Served(way, loop) as served:
            served.source._incarnation = "m1"
            bodies[way, loop] = story(served)
    first = bodies["handover", "uvloop"]
    assert [s.event for s in parse(first)[0]][-1] == "session.end"
    assert all(body == first for body in bodies.values())


def test_heads_differ_in_how_the_connection_ends_alone() -> None:
    heads = {}
    for way in ("handover", "httptools"):
        with Served(way) as served, Wire(served) as viewer:
            served.start("chat")
            viewer.get("/s/chat")
            viewer.read_until(b"session.start")
            heads[way] = viewer.head.split(b"\r\n")
    assert [line for line in heads["handover"] if line != b"connection: close"] == heads["httptools"]
    assert b"connection: close" in heads["handover"]


def test_resume_is_exact_and_the_end_is_204(served: Served) -> None:
    served.start("chat")
    served.say("chat", "a", "b")
    served.say("chat", "c")
    served.end("chat")
    with Wire(served) as whole:
        whole.get("/s/chat", "Connection: close")
        whole.read_to_end()
        seen = parse(whole.body)[0]
    for place, event in enumerate(seen):
        with Wire(served) as viewer:
            viewer.get("/s/chat", f"Last-Event-ID: {event.id}", "Connection: close")
            viewer.read_to_end()
            if place == len(seen) - 1:
                assert viewer.head.startswith(b"HTTP/1.1 204")
            else:
                assert parse(viewer.body)[0] == seen[place + 1 :]


def test_a_viewer_that_leaves_is_forgotten(served: Served) -> None:
    served.start("chat")
    with Wire(served) as viewer:
        viewer.get("/s/chat", "Connection: close")
        viewer.read_until(b"session.start")
        assert served.hub.viewers == 1
    served.until(lambda: served.hub.viewers == 0)
    with Wire(served) as viewer:
        viewer.get("/s/chat", "Connection: close")
        viewer.read_until(b"session.start")
        viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    served.until(lambda: served.hub.viewers == 0)
    assert served.hub.counters.closed["gone"] == 2


def test_a_stalled_viewer_holds_nobody_up_and_loses_nothing(served: Served) -> None:
    served.start("chat")
    with Wire(served, receive_bytes=65536) as stalled, Wire(served) as other:
        stalled.get("/s/chat", "Connection: close")
        other.get("/s/chat", "Connection: close")
        stalled.read_until(b"session.start")
        other.read_until(b"session.start")
        served.until(lambda: served.hub.viewers == 2)
        for n in range(80):
            served.say("chat", f"{n}:" + "x" * 60_000)
            other.read_until(b"data: %d:" % n)
        served.end("chat")
        other.read_to_end()
        assert served.hub.counters.skips > 0, "the buffer was never full: nothing was tried"
        stalled.read_to_end()
        assert stalled.body.partition(b"\n\n")[2] == other.body.partition(b"\n\n")[2]


def test_a_viewer_past_the_lag_bound_is_closed_at_an_event_and_comes_back(request: pytest.FixtureRequest) -> None:
    for way, loop in BOTH:
        with Served(way, loop, settings=HubSettings(lag_bytes=400_000)) as served:
            served.start("chat")
            with Wire(served, receive_bytes=65536) as stalled:
                stalled.get("/s/chat", "Connection: close")
                stalled.read_until(b"session.start")
                count = 0
                while not served.hub.counters.closed["lagging"]:
                    assert count < 500, "never closed"
                    served.say("chat", f"{count}:" + "x" * 60_000)
                    count += 1
                stalled.read_to_end()
                seen, last = parse(stalled.body)
                assert stalled.body.endswith(b": closed lagging\n\n")
            served.end("chat")
            with Wire(served) as again:
                again.get("/s/chat", f"Last-Event-ID: {last}", "Connection: close")
                again.read_to_end()
                rest = parse(again.body)[0]
            numbers = [int(s.data.partition(":")[0]) for s in [*seen, *rest] if s.event == "message"]
            assert numbers == list(range(count))


def test_drain_ends_streams_in_order(served: Served) -> None:
    served.start("chat")
    with Wire(served) as viewer:
        viewer.get("/s/chat", "Connection: close")
        viewer.read_until(b"session.start")
        served.do(served.hub.drain(0.1))
        viewer.read_to_end()
        assert viewer.body.endswith(b": closed draining\n\n")
        assert viewer.received.endswith(b"0\r\n\r\n")
    with Wire(served) as late:
        late.get("/s/chat", "Connection: close")
        late.read_to_end()
        assert late.head.startswith(b"HTTP/1.1 200")
        assert b": refused draining\nretry: " in late.body


def test_a_head_request_opens_no_stream(served: Served) -> None:
    served.start("chat")
    with Wire(served) as viewer:
        viewer.get("/s/chat", "Connection: close", method="HEAD")
        viewer.read_to_end()
        assert viewer.head.startswith(b"HTTP/1.1 200")
    served.until(lambda: served.hub.viewers == 0)


def test_a_crowd_gets_the_same(served: Served) -> None:
    count = 100
    served.start("chat")
    served.say("chat", *[f"token {n}" for n in range(50)])
    wires = [Wire(served) for _ in range(count)]
    for wire in wires:
        wire.get("/s/chat", "Connection: close")
    for wire in wires:
        wire.read_until(b"token 49")
    served.say("chat", "live")
    served.end("chat")
    bodies = set()
    for wire in wires:
        wire.read_to_end()
        bodies.add(wire.body.partition(b"\n\n")[2])
        wire.socket.close()
    assert len(bodies) == 1
    served.until(lambda: served.hub.viewers == 0)
