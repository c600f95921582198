"""What /openapi.json says is what happens: random requests, judged by the document itself."""

from __future__ import annotations

import json
import random
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from holdfast.wire import SessionKey
from holdfast_gateway.web.dev import Producers, Signal, TooManyProducers, router
from holdfast_gateway.web.problems import KINDS
from tests.unit.web.conftest import Site

REQUESTS = 400


class NoProcesses:
    """Stands in for processes; what matters here is what the routes say."""

    model = "tiny"

    def __init__(self) -> None:
        self.asked = 0

    async def type(self, session: str, text: str, rate: float) -> int:
        self.asked += 1
        if self.asked % 7 == 0:
            raise TooManyProducers(6)
        return 42

    async def ask(self, session: str, prompt: str) -> int:
        return 43

    def signal(self, session: str, signal: Signal) -> int | None:
        return 42 if session == "chat-42" else None


@pytest.fixture
async def documented(make_site) -> tuple[Site, dict[str, Any]]:  # type: ignore[no-untyped-def]
    producers: Producers = NoProcesses()
    site: Site = await make_site(extra=router(producers))
    await site.run("Hel", "lo")
    await site.run("Hello", key=SessionKey.of("ended"))
    schema = (await site.client.get("/openapi.json")).json()
    return site, schema


async def test_every_answer_is_one_that_is_documented(documented: tuple[Site, dict[str, Any]]) -> None:
    site, schema = documented
    dice = random.Random(11)
    seen: set[tuple[str, str, int]] = set()
    operations = [(p, m, o) for p, methods in schema["paths"].items() for m, o in methods.items()]
    tail, components = await site.cursor(3), schema["components"]["schemas"]
    for _ in range(REQUESTS):
        path, method, operation = dice.choice(operations)
        url, headers, body = _request(dice, path, operation, tail, components)
        answer = await site.client.request(method.upper(), url, headers=headers, content=body)
        where = f"{method} {url} {headers} -> {answer.status_code} {answer.text[:200]}"
        assert str(answer.status_code) in operation["responses"], where
        _check(answer, operation["responses"][str(answer.status_code)], schema, where)
        seen.add((method, path, answer.status_code))
    # It reached good and bad ones of every operation that has both.
    for path, method, operation in operations:
        reached = {status for m, p, status in seen if (m, p) == (method, path)}
        assert any(status < 300 for status in reached), (method, path, reached)
        if operation.get("parameters"):
            assert any(status >= 400 for status in reached), (method, path, reached)


def _request(
    dice: random.Random, path: str, operation: dict[str, Any], cursor: str, components: dict[str, Any]
) -> tuple[str, dict[str, str], bytes | None]:
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    for parameter in operation.get("parameters", ()):
        name, place = parameter["name"], parameter["in"]
        if place == "path":
            rule = parameter["schema"]
            rule = components[rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
            good = rule.get("enum") or ["chat-42", "ended", "nobody"]
            path = path.replace(f"{{{name}}}", quote(dice.choice([*good, *good, "a b", "é", "x" * 130]), safe=""))
        elif name in ("last_event_id", "Last-Event-ID"):
            if dice.random() < 0.3:
                value = dice.choice([cursor, "zz-1", "broken", ""])
                (headers if place == "header" else query)[name] = value
        elif dice.random() < 0.3:
            query[name] = dice.choice(["0", "1", "2", "true", "start", "now", "x", "", "-1", "answer-1", "1e3"])
    if "follow" in query:
        query["follow"] = "x"  # a stream that stays open never answers in full
    if operation.get("requestBody"):
        headers["Content-Type"] = dice.choice(["application/json"] * 4 + ["text/plain"])
        body = dice.choice(
            [
                {"session": "chat-1", "text": "x", "rate": 5},
                {"session": "chat-1", "prompt": "why"},
                {"session": "a b", "text": "x"},
                {"session": "chat-1"},
                {"session": "chat-1", "text": "x", "rate": -1},
                {"session": "chat-1", "text": "x", "more": 1},
                ["x"],
            ]
        )
        return path, headers, json.dumps(body).encode() if dice.random() < 0.9 else b"{"
    return path + (f"?{urlencode(query)}" if query else ""), headers, None


def _check(answer: Any, documented: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    content = documented.get("content")
    if not content:
        assert answer.content == b"", where
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, where
    if kind == "text/event-stream":
        assert answer.text.startswith(("retry: ", ": refused")), where
        return
    body = answer.json()
    _valid(body, content[kind]["schema"], schema, where)
    if kind == "application/problem+json":
        slug = body["type"].removeprefix("/problems/")
        assert f"`{slug}`" in documented["description"], where
        assert KINDS[slug].status == answer.status_code, where


def _valid(value: Any, rule: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    """As much of JSON Schema as the document uses; a keyword that is not known here fails."""
    known = {"$ref", "type", "title", "description", "properties", "required", "enum", "const", "anyOf", "items",
             "format", "default", "additionalProperties", "minimum", "maximum"}  # fmt: skip
    assert set(rule) <= known, rule
    if "$ref" in rule:
        _valid(value, schema["components"]["schemas"][rule["$ref"].rpartition("/")[2]], schema, where)
        return
    if "anyOf" in rule:
        assert any(_holds(value, r, schema) for r in rule["anyOf"]), where
    if "enum" in rule:
        assert value in rule["enum"], where
    if "const" in rule:
        assert value == rule["const"], where
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
    if "type" in rule and rule["type"] != "number":
        assert isinstance(value, kinds[rule["type"]]), f"{value!r} is no {rule['type']}: {where}"
    if isinstance(value, dict):
        for name in rule.get("required", ()):
            assert name in value, where
        for name, inner in value.items():
            if name in rule.get("properties", {}):
                _valid(inner, rule["properties"][name], schema, where)
    if isinstance(value, list) and "items" in rule:
        for inner in value:
            _valid(inner, rule["items"], schema, where)


def _holds(value: Any, rule: dict[str, Any], schema: dict[str, Any]) -> bool:
    try:
        _valid(value, rule, schema, "")
    except AssertionError:
        return False
    return True


async def test_no_answer_is_documented_that_never_comes(documented: tuple[Site, dict[str, Any]]) -> None:
    """FastAPI adds 422 to everything; here a malformed request is 400."""
    _, schema = documented
    assert "422" not in json.dumps(schema["paths"])
    assert "HTTPValidationError" not in schema["components"]["schemas"]


async def test_the_stream_is_documented_as_one(documented: tuple[Site, dict[str, Any]]) -> None:
    _, schema = documented
    responses = schema["paths"]["/v1/sessions/{session}/events"]["get"]["responses"]
    assert set(responses) == {"200", "204", "400", "401", "404", "421"}
    assert set(responses["200"]["content"]) == {"text/event-stream"}
    assert "content" not in responses["204"]
    for event in ("start", "end", "failed", "cancelled", "reset", "snapshot", "gap", "producer"):
        assert f"`session.{event}`" in schema["paths"]["/v1/sessions/{session}/events"]["get"]["description"]


async def test_docs_are_a_page_of_ours_without_scripts_or_anything_from_elsewhere(site: Site) -> None:
    answer = await site.client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "/v1/sessions/{session}/events" in answer.text
    assert "Last-Event-ID" in answer.text
    assert "<script" not in answer.text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", answer.text)
