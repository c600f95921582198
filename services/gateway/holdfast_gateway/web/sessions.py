"""State, snapshot and cancel of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from holdfast.wire.subjects import run_name
from holdfast_gateway.auth import Action
from holdfast_gateway.observe.metrics import CANCELS
from holdfast_gateway.runtime.api import CancelOutcome, SessionView
from holdfast_gateway.web import problems as p
from holdfast_gateway.web.openapi import problem_responses
from holdfast_gateway.web.parts import Parts
from holdfast_gateway.web.problems import Problem

SessionPath = Annotated[
    str,
    Path(description="1 to 128 characters of A-Z a-z 0-9 _ -", json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,128}$"}),
]
COMMON = (p.MALFORMED_ID, p.UNAUTHENTICATED, p.UNKNOWN_SESSION, p.TOO_MANY, p.BROKER_UNAVAILABLE, p.WRONG_HOST)


class SessionState(BaseModel):
    """Where a session stands, as its log tells it."""

    session: str
    status: Literal["none", "open", "lost", "ended", "failed", "cancelled", "erased"] = Field(
        description="Of the open or last run. `lost`: open, but its producer has not been heard for its lease."
    )
    run: int = Field(description="The run's number; 0 where there was none.")
    name: str | None = Field(description="The run id its producer chose, if any.")
    cursor: str = Field(description="The session's last message. A stream from here has only what comes next.")
    updated: datetime | None = Field(description="When that was stored.")
    viewers: int = Field(description="Viewers in the process that answered.")
    result: Any = Field(None, description="What the producer left at the end of the run.")
    reason: str | None = Field(None, description="Why it failed or was cancelled.")
    message: str | None = Field(None, description="The same, for people.")

    @classmethod
    def of(cls, view: SessionView) -> SessionState:
        reason, message = view.payload.get("reason"), view.payload.get("message")
        return cls(
            session=view.key.session,
            status=view.status,  # type: ignore[arg-type]
            run=view.run,
            name=view.name,
            cursor=str(view.cursor),
            updated=datetime.fromtimestamp(view.updated_seconds, UTC) if view.updated_seconds > 0 else None,
            viewers=view.viewers,
            result=view.payload.get("result"),
            reason=reason if isinstance(reason, str) else None,
            message=message if isinstance(message, str) else None,
        )


class Part(BaseModel):
    """Adjacent text of one event name, joined."""

    event: str
    data: str


class Snapshot(BaseModel):
    """The open or last run in one piece."""

    session: str
    cursor: str = Field(description="The last message included: stream on with `?last_event_id=` of it.")
    snapshot: dict[str, Any] = Field(description="What the `session.snapshot` event carries: from, to, parts.")


class Cancelled(BaseModel):
    """What became of a cancel. The same from every gateway, however often it is asked."""

    session: str
    outcome: Literal["cancelled", "already_closed", "remembered"] = Field(
        description="`cancelled`: this request stopped the run. `already_closed`: it was over. "
        "`remembered`: no run of that name yet; it will be cancelled as it starts."
    )


class Gate:
    """At most so many requests at once; one more is refused, not queued."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        if self._free <= 0:
            raise Problem(p.TOO_MANY, "Too many requests at once", retry_after_seconds=1)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def router(parts: Parts, *, max_requests: int) -> APIRouter:
    """The routes that answer once. `max_requests`: of them, at once."""
    routes = APIRouter(prefix="/v1/sessions", tags=["sessions"])
    gate = Gate(max_requests)

    @routes.get("/{session}", summary="Where a session stands", responses=problem_responses(*COMMON))
    async def state(request: Request, response: Response, session: SessionPath) -> SessionState:
        key, _ = await parts.admit(request, session, Action.READ)
        response.headers["Cache-Control"] = "no-store"
        async with gate():
            return SessionState.of(await parts.hub.state(key))

    @routes.get(
        "/{session}/snapshot",
        summary="The open or last run in one piece",
        responses=problem_responses(*COMMON, p.SNAPSHOT_TOO_LARGE),
    )
    async def snapshot(request: Request, response: Response, session: SessionPath) -> Snapshot:
        key, _ = await parts.admit(request, session, Action.READ)
        response.headers["Cache-Control"] = "no-store"
        async with gate():
            view = await parts.hub.snapshot(key)
        return Snapshot(session=key.session, cursor=str(view.cursor), snapshot=dict(view.body))

    @routes.post(
        "/{session}/cancel",
        summary="Stop a run; what it said so far stays",
        responses=problem_responses(*COMMON, p.UNKNOWN_RUN, p.MALFORMED_REQUEST),
    )
    async def cancel(
        request: Request,
        response: Response,
        session: SessionPath,
        run: Annotated[
            int | None, Query(ge=1, lt=1 << 63, description="The run with this number; absent: the open one.")
        ] = None,
        name: Annotated[
            str | None, Query(description="The run whose producer chose this id, also before it starts.")
        ] = None,
        reason: Annotated[str | None, Query(max_length=500, description="Told to viewers and producer.")] = None,
    ) -> Cancelled:
        key, _ = await parts.admit(request, session, Action.CANCEL)
        if run is not None and name is not None:
            raise Problem(p.MALFORMED_REQUEST, "Give ?run= or ?name=, not both")
        which: int | str | None = run if name is None else run_name(name)
        async with gate():
            outcome = await parts.hub.cancel(key, which, reason)
        parts.meter.count(CANCELS, 1, (outcome.value,))
        if outcome is CancelOutcome.UNKNOWN:
            raise Problem(p.UNKNOWN_RUN)
        response.headers["Cache-Control"] = "no-store"
        return Cancelled(session=key.session, outcome=outcome.value)  # type: ignore[arg-type]

    return routes
