"""What can be wrong with taking a connection away from uvicorn, tried one by one."""

from __future__ import annotations

import gc
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import uvicorn
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from holdfast_gateway.runtime.viewer import LiveViewer
from holdfast_gateway.web.handover import Handle, HandoverProtocol, StreamProtocol
from holdfast_gateway.web.stream_asgi import AsgiSink
from tests.integration.streaming.serving import Served, Wire
from tests.unit.runtime.clients import parse


class HoldsBack(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def on_the_fast_way(served: Served) -> list[bool]:
    """For each viewer, whether its connection was taken."""
    sinks = [viewer.sink for viewer in served.hub._all_viewers()]
    assert all(isinstance(sink, (StreamProtocol, AsgiSink)) for sink in sinks)
    return [isinstance(sink, StreamProtocol) for sink in sinks]


def watch(served: Served, viewer: Wire, *headers: str, version: str = "1.1") -> None:
    served.start("chat")
    viewer.get("/s/chat", *headers, version=version)
    viewer.read_until(b"session.start")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_h4_uvicorn_lets_go_of_the_connection(loop: str) -> None:
    with Served(loop=loop) as served, Wire(served) as viewer:
        watch(served, viewer)
        assert on_the_fast_way(served) == [True]
        state = served.server.server_state
        served.until(lambda: not state.connections and not state.tasks)
        assert state.total_requests == 1
        served.say("chat", "still there")
        viewer.read_until(b"still there")


def test_h4_no_request_object_survives_the_swap() -> None:
    with Served() as served, Wire(served) as viewer:
        watch(served, viewer)
        served.until(lambda: not served.server.server_state.tasks)
        gc.disable()  # what goes must go by itself
        try:
            alive = [o for o in gc.get_objects() if isinstance(o, (RequestResponseCycle, HandoverProtocol, Handle))]
            assert alive == []
        finally:
            gc.enable()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_keep_alive_timers_do_not_end_a_stream(loop: str) -> None:
    with Served(loop=loop, keep_alive_seconds=1) as served, Wire(served) as viewer:
        viewer.get("/plain")
        viewer.read_until(b"plain")
        viewer.received.clear()
        watch(served, viewer)
        assert on_the_fast_way(served) == [True]
        time.sleep(1.5)
        served.say("chat", "late")
        viewer.read_until(b"late")


def test_h2_a_pipelined_request_is_answered_behind_the_stream() -> None:
    with Served() as served, Wire(served) as viewer:
        served.start("chat")
        request = b"GET /s/chat HTTP/1.1\r\nHost: test\r\n\r\n"
        viewer.socket.sendall(request + b"GET /plain HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        viewer.read_until(b"session.start")
        assert on_the_fast_way(served) == [False]
        served.end("chat")
        viewer.read_to_end()
        assert viewer.received.endswith(b"\r\n\r\nplain")


def test_h3_what_a_client_says_during_its_stream_is_not_answered() -> None:
    with Served() as served, Wire(served) as viewer:
        watch(served, viewer)
        viewer.get("/plain")
        time.sleep(0.1)
        served.end("chat")
        viewer.read_to_end()
        assert b"connection: close" in viewer.head
        assert b"plain" not in viewer.received.partition(b"\r\n\r\n")[2]


def test_h2_http_1_0_gets_an_unchunked_stream() -> None:
    with Served() as served, Wire(served) as viewer:
        watch(served, viewer, version="1.0")
        assert on_the_fast_way(served) == [False]
        served.end("chat")
        viewer.read_to_end()


def test_h1_middleware_that_holds_the_head_back_keeps_the_asgi_way() -> None:
    with Served(middleware=[Middleware(HoldsBack)]) as served, Wire(served) as viewer:
        watch(served, viewer, "Connection: close")
        assert on_the_fast_way(served) == [False]
        served.say("chat", "live")
        served.end("chat")
        viewer.read_to_end()
        assert [s.event for s in parse(viewer.body)[0]] == ["session.start", "message", "session.end"]
        served.until(lambda: served.hub.viewers == 0)


def test_another_server_gets_the_asgi_way() -> None:
    with Served("h11") as served, Wire(served) as viewer:
        watch(served, viewer)
        assert on_the_fast_way(served) == [False]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls(loop: str, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    trust = ssl.create_default_context(cafile=str(certificate))
    with Served(loop=loop, certificate=(str(certificate), str(key))) as served:
        served.start("chat")
        with Wire(served, tls=trust) as viewer:
            viewer.get("/s/chat")
            viewer.read_until(b"session.start")
            assert on_the_fast_way(served) == [True]
            served.say("chat", "y" * 3_000_000)
            served.say("chat", "after")
            viewer.read_until(b"after")
        served.until(lambda: served.hub.viewers == 0)


@pytest.mark.parametrize("way", ["handover", "httptools"])
def test_nothing_grows_over_connects_and_disconnects(way: str) -> None:
    def objects() -> int:
        gc.collect()
        kinds = (StreamProtocol, AsgiSink, LiveViewer, RequestResponseCycle, HandoverProtocol, Handle)
        return sum(isinstance(o, kinds) for o in gc.get_objects())

    before = objects()
    with Served(way) as served:
        served.start("chat")
        for _ in range(150):
            with Wire(served) as viewer:
                viewer.get("/s/chat")
                viewer.read_until(b"session.start")
        served.until(lambda: served.hub.viewers == 0)
        session = next(iter(served.hub._sessions.values()))
        served.until(lambda: not served.server.server_state.connections)
        assert (session.viewers, session._waiters, len(served.hub._tasks)) == (0, [], 1)
        served.until(lambda: objects() <= before)


def test_the_last_bytes_are_flushed_before_uvicorn_goes() -> None:
    with Served() as served:
        served.start("chat")
        with Wire(served, receive_bytes=4096) as viewer:
            viewer.get("/s/chat")
            viewer.read_until(b"session.start")
            served.say("chat", "z" * 4_000_000)
            served.do(served.hub.drain(0.0))
            assert served.server.server_state.connections, "still flushing"
            viewer.read_to_end()
            assert viewer.received.endswith(b"0\r\n\r\n")
        served.until(lambda: not served.server.server_state.connections)


def test_importing_the_response_leaves_uvicorn_as_it_was() -> None:
    assert uvicorn.Server.handle_exit.__module__ == "uvicorn.server"
    from sse_starlette.sse import AppStatus

    assert AppStatus.enable_automatic_graceful_drain is False
