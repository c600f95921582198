"""The HTTP side: the only module here that imports starlette and sse-starlette, and only when it is used."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response

from holdfast.serving.records import START_ID


def last_event_id(request: Request) -> str:
    """A viewer's place: the header, which browsers send when they reconnect, before the query parameter."""
    return request.headers.get("last-event-id") or request.query_params.get("last_event_id") or START_ID


def event_source_response(events: AsyncGenerator[dict[str, Any], None], options: dict[str, Any]) -> Response:
    """The events as a response that no proxy buffers and no cache keeps."""
    return EventSourceResponse(events, **options)


def no_content() -> Response:
    """204: there is nothing more. An `EventSource` stops reconnecting."""
    return Response(status_code=204, headers={"Cache-Control": "no-store"})
