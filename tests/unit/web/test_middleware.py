"""Host allow-list, CORS and headers on every answer."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from holdfast_gateway.settings import Settings
from holdfast_gateway.web.middleware import HostGuard, SafeHeaders
from tests.unit.web.conftest import Site
from tests.unit.web.test_sessions import assert_problem


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
async def test_its_own_names_are_answered(site: Site, host: str) -> None:
    assert (await site.client.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example:8080", "[::2]"])
@pytest.mark.parametrize("path", ["/healthz", "/v1/sessions/chat-42/events", "/"])
async def test_a_rebound_name_is_not(site: Site, host: str, path: str) -> None:
    assert_problem(await site.client.get(path, headers={"Host": host}), "wrong-host")


async def test_names_of_ones_choice(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(Settings(allowed_hosts=("stream.example", "*.pods.example")))
    for host, status in [("stream.example", 200), ("a.pods.example", 200), ("pods.example", 421), ("localhost", 421)]:
        assert (await site.client.get("/healthz", headers={"Host": host})).status_code == status, host


async def test_everything_is_nosniff(site: Site) -> None:
    for path in ("/healthz", "/docs", "/nothing", "/openapi.json", "/v1/sessions/chat-42"):
        assert (await site.client.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_without_an_allow_list_no_other_origin_may_read(site: Site) -> None:
    answer = await site.client.get("/healthz", headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_an_allowed_origin_may_read_and_send_its_cursor(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(Settings(cors_origins=("https://app.example",)))
    answer = await site.client.get("/v1/sessions/nobody", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    preflight = await site.client.options(
        "/v1/sessions/chat-42/events",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "last-event-id,authorization",
        },
    )
    assert preflight.status_code == 200
    other = await site.client.get("/healthz", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


async def test_any_origin_never_with_credentials(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(Settings(cors_origins=("*",)))
    answer = await site.client.get("/healthz", headers={"Origin": "https://anyone.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_the_head_of_a_response_is_never_held_back() -> None:
    """What `BaseHTTPMiddleware` does, and why none of it is in the stack: the head must go out before the body is."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append("app goes on")
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Message) -> None:
        seen.append(message["type"])

    async def receive() -> Message:
        raise AssertionError("nobody asked for the body")

    stack = HostGuard(SafeHeaders(app), ("localhost",))
    await stack({"type": "http", "headers": [(b"host", b"localhost")]}, receive, send)
    assert seen == ["http.response.start", "app goes on", "http.response.body"]


async def test_no_middleware_of_the_holding_kind_is_in_the_stack(site: Site) -> None:
    from starlette.middleware.base import BaseHTTPMiddleware

    app = site.client._transport.app  # type: ignore[attr-defined]
    assert [m.cls for m in app.user_middleware]
    assert not [m.cls for m in app.user_middleware if isinstance(m.cls, type) and issubclass(m.cls, BaseHTTPMiddleware)]
