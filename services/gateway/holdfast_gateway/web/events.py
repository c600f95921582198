"""`GET /v1/sessions/{id}/events`: the stream."""

# No deferred annotations here: the bound of `wait` is a setting, so FastAPI must see it as a value.
import random
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from holdfast.wire import Cursor
from holdfast_gateway.auth import Action
from holdfast_gateway.core.sse import refusal
from holdfast_gateway.observe.metrics import ATTACHES
from holdfast_gateway.ports import SourceUnavailable
from holdfast_gateway.runtime.api import Attached, NothingLeft, SessionUnknown
from holdfast_gateway.settings import Settings
from holdfast_gateway.web import problems as p
from holdfast_gateway.web.arrivals import TurnedAway
from holdfast_gateway.web.event_stream import STREAM_HEADERS
from holdfast_gateway.web.openapi import problem_responses
from holdfast_gateway.web.parts import Parts
from holdfast_gateway.web.sessions import SessionPath

_DESCRIPTION: Final = """
Every event of the session, in order, once, from the cursor on; live when caught up. Any SSE client reads it; one that
sends back the `id` of the last event it has (`EventSource` does so by itself) goes on exactly there.

| event | data | id |
|---|---|---|
| as the producer named it, else `message` | as the producer wrote it | yes |
| `session.start` | `{run, name?}` | yes |
| `session.end` | `{run, result?}` | yes |
| `session.failed` | `{run, reason, message?}` | yes |
| `session.cancelled` | `{run, reason?}` | yes |
| `session.reset` | `{run}`: forget what this run said | yes |
| `session.snapshot` | `{from, to, parts: [{event, data}]}`: the run so far; replaces it | yes |
| `session.gap` | `{reason, requested, earliest, latest}`: what was asked for cannot be had | no |
| `session.producer` | `{run, state: "lost" or "back"}` | no |

A stream that is refused just now (draining, full, broker away) is answered 200 with a `retry:` and ends, because
`EventSource` never comes back after any other status.
"""

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The stream. Ends when the last run has ended and everything was sent, or to be resumed.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": (
                    'retry: 812\n\nid: mf3k2x9q-41\nevent: session.start\ndata: {"run":41}\n\n'
                    'id: mf3k2x9q-42\ndata: Hello\n\nid: mf3k2x9q-43\nevent: session.end\ndata: {"run":41}\n\n'
                ),
            }
        },
    },
    204: {"description": "The cursor is the end of the last run: nothing is left. Stops `EventSource`."},
}

BROKER_RETRY_MS: Final = (1000, 3000)
"""What a viewer is told while the broker is away: longer than usual, and spread."""


def router(parts: Parts, settings: Settings) -> APIRouter:
    """The stream's route. Waits are bounded by `wait_max_seconds`."""
    routes = APIRouter(prefix="/v1/sessions", tags=["sessions"])
    wait_max = settings.wait_max_seconds
    retry_ms = (round(settings.retry_min_seconds * 1000), round(settings.retry_max_seconds * 1000))
    wait_default = min(settings.wait_seconds, wait_max)

    @routes.get(
        "/{session}/events",
        summary="Follow a session",
        description=_DESCRIPTION,
        response_class=Response,
        responses=_STREAM
        | problem_responses(
            p.MALFORMED_ID,
            p.MALFORMED_CURSOR,
            p.MALFORMED_REQUEST,
            p.UNAUTHENTICATED,
            p.UNKNOWN_SESSION,
            p.WRONG_HOST,
        ),
    )
    async def events(
        request: Request,
        session: SessionPath,
        last_event_id: Annotated[
            str, Header(alias="Last-Event-ID", description="The cursor. Goes before `?last_event_id=`.")
        ] = "",
        cursor: Annotated[
            str, Query(alias="last_event_id", description="The cursor, for a client that cannot send headers.")
        ] = "",
        start: Annotated[
            Literal["start", "now"],
            Query(alias="from", description="Without a cursor: from the earliest event kept, or only what comes."),
        ] = "start",
        follow: Annotated[bool, Query(description="Stay for the next runs: no end at the end of one.")] = False,
        snapshot: Annotated[
            bool, Query(description="Without a cursor: the open or last run so far as one `session.snapshot`.")
        ] = False,
        wait: Annotated[
            float | None,
            Query(ge=0, le=wait_max, allow_inf_nan=False, description="Seconds to wait for an unknown session."),
        ] = None,
    ) -> Response:
        key, grant = await parts.admit(request, session, Action.READ)
        given = last_event_id or cursor
        place = Cursor.parse(given) if given else None
        try:
            async with parts.arrivals.arriving():
                outcome = await parts.hub.attach(
                    key,
                    cursor=place,
                    start=start,
                    follow=follow,
                    snapshot=snapshot,
                    wait_seconds=wait_default if wait is None else wait,
                )
        except SourceUnavailable:
            parts.meter.count(ATTACHES, 1, ("broker_unavailable",))
            return Response(refusal("broker_unavailable", random.randint(*BROKER_RETRY_MS)), headers=STREAM_HEADERS)
        except TurnedAway:
            parts.meter.count(ATTACHES, 1, ("draining",))
            return Response(refusal("draining", random.randint(*retry_ms)), headers=STREAM_HEADERS)
        except SessionUnknown:
            parts.meter.count(ATTACHES, 1, ("unknown",))
            raise
        if isinstance(outcome, Attached):
            parts.meter.count(ATTACHES, 1, ("open",))
            return parts.respond(outcome.viewer, grant)
        if isinstance(outcome, NothingLeft):
            parts.meter.count(ATTACHES, 1, ("nothing_left",))
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        parts.meter.count(ATTACHES, 1, (str(outcome.reason),))
        return Response(outcome.body, headers=STREAM_HEADERS)

    return routes
