"""State, snapshot, cancel and health over the real hub."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.wire import SessionKey
from holdfast.wire import codec as w
from holdfast_gateway.runtime.api import HubSettings
from holdfast_gateway.settings import Settings
from holdfast_gateway.web.problems import KINDS
from tests.unit.web.conftest import Site


async def test_the_state_of_an_open_run(site: Site) -> None:
    run = await site.run("Hel", "lo", ended=False, name="answer-1")
    answer = await site.client.get("/v1/sessions/chat-42")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == "open"
    assert (body["session"], body["run"], body["name"]) == ("chat-42", run, "answer-1")
    assert body["cursor"] == await site.cursor(run + 2)
    assert body["updated"] is not None


async def test_the_state_of_an_ended_run_carries_its_result(site: Site) -> None:
    await site.run("Hello")
    body = (await site.client.get("/v1/sessions/chat-42")).json()
    assert (body["status"], body["result"]) == ("ended", {"tokens": 1})


async def test_the_state_of_a_failed_run_says_why(site: Site) -> None:
    run = await site.run("Hel", ended=False)
    await site.append(w.failed("w1", run, "model_error", "the model hung up", index=1))
    body = (await site.client.get("/v1/sessions/chat-42")).json()
    assert (body["status"], body["reason"], body["message"]) == ("failed", "model_error", "the model hung up")


async def test_a_snapshot_is_the_run_in_one_piece_and_its_cursor_goes_on_from_there(site: Site) -> None:
    run = await site.run("Hel", "lo", ended=False)
    body = (await site.client.get("/v1/sessions/chat-42/snapshot")).json()
    assert body["snapshot"]["parts"] == [{"event": "message", "data": "Hello"}]
    assert body["cursor"] == await site.cursor(run + 2)


async def test_a_snapshot_that_is_too_large_is_a_problem(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(hub_settings=HubSettings(snapshot_bytes=1024))
    await site.run("x" * 2000)
    answer = await site.client.get("/v1/sessions/chat-42/snapshot")
    assert_problem(answer, "snapshot-too-large")


@pytest.mark.parametrize("path", ["", "/snapshot"])
async def test_an_unknown_session_is_404(site: Site, path: str) -> None:
    assert_problem(await site.client.get(f"/v1/sessions/nobody{path}"), "unknown-session")


@pytest.mark.parametrize("session", ["a.b", "x" * 129, "%20", "a%3Bb", "é"])
@pytest.mark.parametrize("path", ["", "/snapshot", "/events"])
async def test_a_malformed_id_is_400(site: Site, session: str, path: str) -> None:
    assert_problem(await site.client.get(f"/v1/sessions/{session}{path}"), "malformed-id")


async def test_cancel_during_a_run_and_again(site: Site) -> None:
    await site.run("Hel", ended=False)
    first = await site.client.post("/v1/sessions/chat-42/cancel?reason=enough")
    assert (first.status_code, first.json()) == (200, {"session": "chat-42", "outcome": "cancelled"})
    again = await site.client.post("/v1/sessions/chat-42/cancel")
    assert (again.status_code, again.json()["outcome"]) == (200, "already_closed")
    state = (await site.client.get("/v1/sessions/chat-42")).json()
    assert (state["status"], state["reason"]) == ("cancelled", "enough")


async def test_cancel_after_the_end(site: Site) -> None:
    await site.run("Hello")
    answer = await site.client.post("/v1/sessions/chat-42/cancel")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "already_closed")


async def test_cancel_before_the_start_is_remembered_by_name(site: Site) -> None:
    answer = await site.client.post("/v1/sessions/chat-42/cancel?name=answer-1")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "remembered")
    await site.append(w.start("w1", name="answer-1"))
    await site.client.get("/v1/sessions/chat-42/events")  # ends when the run does
    status = (await site.client.get("/v1/sessions/chat-42")).json()["status"]
    assert status == "cancelled"


async def test_cancel_of_a_run_that_never_was(site: Site) -> None:
    await site.run("Hello")
    assert_problem(await site.client.post("/v1/sessions/chat-42/cancel?run=99999"), "unknown-run")


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ("run=0", "malformed-request"),
        ("run=x", "malformed-request"),
        ("run=9223372036854775808", "malformed-request"),
        ("run=1&name=a", "malformed-request"),
        ("name=a.b", "malformed-id"),
        ("reason=" + "x" * 501, "malformed-request"),
    ],
)
async def test_malformed_cancels(site: Site, query: str, slug: str) -> None:
    assert_problem(await site.client.post(f"/v1/sessions/chat-42/cancel?{query}"), slug)


async def test_two_cancels_at_once_have_one_winner(site: Site) -> None:
    await site.run("Hel", ended=False)
    answers = await asyncio.gather(*[site.client.post("/v1/sessions/chat-42/cancel") for _ in range(5)])
    outcomes = sorted(answer.json()["outcome"] for answer in answers)
    assert outcomes == ["already_closed"] * 4 + ["cancelled"]


async def test_a_broker_that_is_away_is_503_with_retry_after(site: Site) -> None:
    site.source.faults.outage = True
    for answer in (
        await site.client.get("/v1/sessions/chat-42"),
        await site.client.get("/v1/sessions/chat-42/snapshot"),
        await site.client.post("/v1/sessions/chat-42/cancel?name=a"),
    ):
        assert_problem(answer, "broker-unavailable")
        assert answer.headers["retry-after"] == "2"


async def test_one_request_over_the_limit_is_429(make_site) -> None:  # type: ignore[no-untyped-def]
    site: Site = await make_site(Settings(max_requests=2))
    site.source.faults.outage = True
    answers = await asyncio.gather(*[site.client.get("/v1/sessions/chat-42") for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [429, 503, 503]
    assert_problem(next(a for a in answers if a.status_code == 429), "too-many-requests")


async def test_health_and_readiness(site: Site) -> None:
    assert (await site.client.get("/healthz")).json()["status"] == "ok"
    assert (await site.client.get("/readyz")).json() == {"ready": True, "viewers": 0, "sessions": 0}
    site.source.faults.outage = True
    assert (await site.client.get("/healthz")).status_code == 200
    assert_problem(await site.client.get("/readyz"), "broker-unavailable")


async def test_a_draining_gateway_is_alive_and_not_ready(site: Site) -> None:
    await site.hub.drain(0)
    assert (await site.client.get("/healthz")).status_code == 200
    assert_problem(await site.client.get("/readyz"), "draining")


async def test_unknown_paths_and_methods(site: Site) -> None:
    assert_problem(await site.client.get("/v2/nothing"), "not-found")
    answer = await site.client.delete("/v1/sessions/chat-42")
    assert_problem(answer, "wrong-method")
    assert answer.headers["allow"] == "GET"


async def test_a_fault_of_ours_is_a_problem_without_details(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(key: SessionKey) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(site.hub, "state", broken)
    answer = await site.client.get("/v1/sessions/chat-42")
    assert_problem(answer, "internal")
    assert "secret" not in answer.text


async def test_every_problem_explains_itself_at_its_type(site: Site) -> None:
    for slug, kind in KINDS.items():
        answer = await site.client.get(f"/problems/{slug}")
        assert answer.status_code == 200
        assert kind.remedy in answer.text
    assert_problem(await site.client.get("/problems/nothing"), "not-found")


def assert_problem(answer, slug: str) -> None:  # type: ignore[no-untyped-def]
    """RFC 9457: media type, and members that agree with the status and the table."""
    kind = KINDS[slug]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (answer.status_code, body["type"], body["status"]) == (kind.status, f"/problems/{slug}", kind.status)
    assert body["title"] == kind.title
    assert body["detail"].endswith(kind.remedy)
