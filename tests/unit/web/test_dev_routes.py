"""The page's way to start producers: bounded, and closed to other sites."""

from __future__ import annotations

import json

import pytest

from holdfast_gateway.web.dev import MAX_BODY_BYTES, router
from tests.unit.web.conftest import Site
from tests.unit.web.test_openapi import NoProcesses
from tests.unit.web.test_sessions import assert_problem

ANSWER = {"session": "chat-1", "text": "x"}


@pytest.fixture
async def dev(make_site) -> Site:  # type: ignore[no-untyped-def]
    site: Site = await make_site(extra=router(NoProcesses()))
    return site


async def test_only_dev_has_them(site: Site) -> None:
    assert_problem(await site.client.get("/dev/"), "not-found")
    assert_problem(await site.client.post("/dev/answers", json=ANSWER), "not-found")


async def test_a_body_is_bounded_before_it_is_kept(dev: Site) -> None:
    body = json.dumps({"session": "chat-1", "text": "x" * (MAX_BODY_BYTES + 5000)})
    answer = await dev.client.post("/dev/answers", content=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, "too-large")


async def test_a_form_of_another_site_cannot_start_anything(dev: Site) -> None:
    """A form's content types need no CORS preflight, so they are not taken."""
    answer = await dev.client.post("/dev/answers", content=json.dumps(ANSWER), headers={"Content-Type": "text/plain"})
    assert_problem(answer, "wrong-type")
    answer = await dev.client.post("/dev/answers", json=ANSWER, headers={"Origin": "http://localhost:9999"})
    assert_problem(answer, "foreign-origin")
    answer = await dev.client.post("/dev/answers", json=ANSWER, headers={"Origin": "http://localhost:8080"})
    assert answer.status_code == 202


async def test_faults_of_a_body_are_named(dev: Site) -> None:
    answer = await dev.client.post("/dev/answers", json={"session": "chat-1", "text": "x", "rate": 0, "colour": "red"})
    assert_problem(answer, "malformed-request")
    assert {fault["parameter"] for fault in answer.json()["errors"]} == {"rate", "colour"}
    assert_problem(await dev.client.post("/dev/answers", json={"session": "a b", "text": "x"}), "malformed-id")
    for body in ({"session": "chat-1"}, {"session": "chat-1", "text": "x", "prompt": "y"}, [1], 7):
        assert_problem(await dev.client.post("/dev/answers", json=body), "malformed-request")


async def test_too_many_producers_are_refused_and_told_when_to_come_back(dev: Site) -> None:
    for _ in range(6):
        assert (await dev.client.post("/dev/answers", json=ANSWER)).status_code == 202
    answer = await dev.client.post("/dev/answers", json=ANSWER)
    assert_problem(answer, "too-many-requests")
    assert answer.headers["retry-after"] == "5"
