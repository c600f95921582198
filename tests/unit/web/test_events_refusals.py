"""Every answer of the stream's route that is not a stream."""

from __future__ import annotations

import pytest

from holdfast_gateway.auth import Action, Credentials, Unauthenticated
from holdfast_gateway.runtime.api import HubSettings
from tests.unit.web.conftest import Site
from tests.unit.web.test_sessions import assert_problem

EVENTS = "/v1/sessions/chat-42/events"


@pytest.mark.parametrize(
    "cursor", ["x", "abc-", "abc-1.", "abc-1.x", "ABC-1", "abc-01", "abc-0.1", "a-9223372036854775808"]
)
async def test_a_malformed_cursor_is_400_by_header_and_by_query(site: Site, cursor: str) -> None:
    await site.run("Hello")
    assert_problem(await site.client.get(EVENTS, headers={"Last-Event-ID": cursor}), "malformed-cursor")
    assert_problem(await site.client.get(EVENTS, params={"last_event_id": cursor}), "malformed-cursor")


async def test_the_header_goes_before_the_query(site: Site) -> None:
    """`EventSource` reconnects with its header and the old URL, whose query is then out of date."""
    run = await site.run("Hello")
    tail = await site.cursor(run + 2)
    done = await site.client.get(EVENTS, params={"last_event_id": "broken"}, headers={"Last-Event-ID": tail})
    assert done.status_code == 204
    broken = await site.client.get(EVENTS, params={"last_event_id": tail}, headers={"Last-Event-ID": "broken"})
    assert_problem(broken, "malformed-cursor")


async def test_at_the_end_of_the_last_run_nothing_is_left(site: Site) -> None:
    run = await site.run("Hello")
    answer = await site.client.get(EVENTS, params={"last_event_id": await site.cursor(run + 2)})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "query", ["from=middle", "follow=perhaps", "snapshot=2", "wait=-1", "wait=61", "wait=nan", "wait=inf", "wait=x"]
)
async def test_malformed_parameters_are_named(site: Site, query: str) -> None:
    answer = await site.client.get(f"{EVENTS}?{query}")
    assert_problem(answer, "malformed-request")
    assert [fault["parameter"] for fault in answer.json()["errors"]] == [query.partition("=")[0]]


async def test_an_unknown_session_is_404_when_nobody_waits(site: Site) -> None:
    assert_problem(await site.client.get(f"{EVENTS}?wait=0"), "unknown-session")


async def test_a_refused_stream_is_200_so_that_eventsource_comes_back(site: Site) -> None:
    await site.run("Hello", ended=False)
    await site.hub.drain(0)
    answer = await site.client.get(EVENTS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "retry: " in answer.text
    assert "data:" not in answer.text


async def test_a_full_gateway_refuses_the_same_way(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(hub_settings=HubSettings(max_viewers=0))
    await site.run("Hello", ended=False)
    answer = await site.client.get(EVENTS)
    assert answer.status_code == 200
    assert "retry: " in answer.text


async def test_a_broker_that_is_away_too(site: Site) -> None:
    site.source.faults.outage = True
    answer = await site.client.get(EVENTS)
    assert answer.status_code == 200
    assert "retry: " in answer.text
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-store"


class Strict:
    """Knows one token; its holder may read sessions that begin with `chat-`."""

    tenant = "default"
    expires_at = None

    async def authenticate(self, credentials: Credentials) -> Strict:
        if credentials.query.get("token") != "right":
            raise Unauthenticated("Send ?token=")
        return self

    def allows(self, action: Action, session: str) -> bool:
        return action is Action.READ and session.startswith("chat-")


async def test_what_is_not_yours_looks_like_what_is_not_there(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(authenticator=Strict())
    await site.run("Hello")
    nobody = await site.client.get("/v1/sessions/chat-42")
    assert_problem(nobody, "unauthenticated")
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert (await site.client.get("/v1/sessions/chat-42?token=right")).status_code == 200
    site.source.faults.outage = True  # decided from the claims alone: the broker is not asked
    others = await site.client.get("/v1/sessions/other?token=right")
    assert_problem(others, "unknown-session")
    assert_problem(await site.client.get("/v1/sessions/other/events?token=right&wait=9"), "unknown-session")
    assert_problem(await site.client.post("/v1/sessions/chat-42/cancel?token=right"), "unknown-session")


async def test_outcomes_are_counted(site: Site) -> None:
    run = await site.run("Hello")
    await site.client.get(EVENTS, params={"last_event_id": await site.cursor(run + 2)})
    await site.client.get("/v1/sessions/nobody/events?wait=0")
    text = site.registry.exposition()
    assert 'holdfast_attaches_total{outcome="nothing_left"} 1\n' in text
    assert 'holdfast_attaches_total{outcome="unknown"} 1\n' in text
    assert 'holdfast_problems_total{problem="unknown-session"} 1\n' in text
