"""`/dev/`: what the page needs to show a producer at work. Mounted by `holdfast-gateway dev` alone.

A producer here is a process of its own that uses the SDK, as any application would: it can be stopped, frozen and
killed, and it outlives the gateway.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from holdfast.wire.subjects import session_id
from holdfast_gateway.web import problems as p
from holdfast_gateway.web.openapi import problem_responses
from holdfast_gateway.web.problems import Problem
from holdfast_gateway.web.sessions import SessionPath

MAX_BODY_BYTES: Final = 1 << 20


class Signal(StrEnum):
    """What can be done to a producer."""

    KILL = "kill"
    FREEZE = "freeze"
    THAW = "thaw"


class Producers(Protocol):
    """Starts producers and keeps hold of them."""

    @property
    def model(self) -> str | None:
        """The model that can be asked; None where no endpoint is configured."""

    async def type(self, session: str, text: str, rate: float) -> int:
        """A process that writes this text, so many tokens a second. Returns its id. Raises `TooManyProducers`."""

    async def ask(self, session: str, prompt: str) -> int:
        """A process that asks the model and writes its answer. Returns its id. Raises `TooManyProducers`."""

    def signal(self, session: str, signal: Signal) -> int | None:
        """Signal the session's producer. Returns its id; None if there is none alive."""


class TooManyProducers(Exception):
    """No more producers at once than `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} producers are running already")


class Answer(BaseModel):
    """An answer to start: `text` typed at a `rate`, or a `prompt` for the model."""

    model_config = ConfigDict(extra="forbid")
    session: str
    text: str | None = Field(None, min_length=1)
    rate: float = Field(25.0, gt=0, le=2000, description="Tokens a second.")
    prompt: str | None = Field(None, min_length=1, max_length=20_000)


class Producer(BaseModel):
    """A producer's process."""

    session: str
    pid: int


class Capabilities(BaseModel):
    """What this gateway can start."""

    text: Literal[True] = True
    model: str | None


def same_origin(request: Request) -> None:
    """Another site's page must not start or kill anything here, although a browser would carry its request."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Problem(p.FOREIGN_ORIGIN, f"The request comes from {origin[:80]!r}")


def router(producers: Producers) -> APIRouter:
    """The routes under `/dev/`."""
    routes = APIRouter(prefix="/dev", tags=["dev"], dependencies=[Depends(same_origin)])

    @routes.get("/", summary="What the page can start")
    async def capabilities() -> Capabilities:
        return Capabilities(model=producers.model)

    @routes.post(
        "/answers",
        status_code=202,
        summary="Start a producer",
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": Answer.model_json_schema()}}}},
        responses=problem_responses(p.MALFORMED_ID, p.MALFORMED_REQUEST, p.TOO_LARGE, p.TOO_MANY, p.WRONG_TYPE),
    )
    async def start(request: Request) -> Producer:
        answer = await _answer(request)
        session = session_id(answer.session)
        try:
            if answer.text is not None:
                pid = await producers.type(session, answer.text, answer.rate)
            elif producers.model is None:
                raise Problem(p.MALFORMED_REQUEST, "No model is configured; start the gateway with --openai-url")
            else:
                pid = await producers.ask(session, answer.prompt or "")
        except TooManyProducers as error:
            raise Problem(p.TOO_MANY, str(error), retry_after_seconds=5) from None
        return Producer(session=session, pid=pid)

    @routes.post(
        "/answers/{session}/{signal}",
        summary="Kill, freeze or thaw a producer",
        responses=problem_responses(p.MALFORMED_ID, p.MALFORMED_REQUEST, p.NO_PRODUCER),
    )
    async def send(session: SessionPath, signal: Signal) -> Producer:
        pid = producers.signal(session_id(session), signal)
        if pid is None:
            raise Problem(p.NO_PRODUCER)
        return Producer(session=session, pid=pid)

    return routes


async def _answer(request: Request) -> Answer:
    """The body, bounded before it is kept. A form of another site cannot send JSON without asking first (CORS)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(p.WRONG_TYPE)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES + 4096:
            raise Problem(p.TOO_LARGE, f"The body has more than {MAX_BODY_BYTES} bytes")
    try:
        value: Any = json.loads(bytes(body))
        answer = Answer.model_validate(value)
    except ValidationError as error:
        faults = [{"parameter": ".".join(map(str, e["loc"])) or "body", "detail": e["msg"]} for e in error.errors()]
        raise Problem(p.MALFORMED_REQUEST, "The body is not an answer to start", errors=faults) from None
    except (ValueError, RecursionError):
        raise Problem(p.MALFORMED_REQUEST, "The body is not JSON") from None
    if (answer.text is None) == (answer.prompt is None):
        raise Problem(p.MALFORMED_REQUEST, "Give `text` or `prompt`, one of the two")
    return answer
