"""From what a request ran into to the problem it is answered with: one table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from holdfast.wire import InvalidCursor, InvalidId
from holdfast_gateway.auth import Unauthenticated
from holdfast_gateway.observe.metrics import PROBLEMS, Meter
from holdfast_gateway.ports import SourceUnavailable
from holdfast_gateway.runtime.api import SessionUnknown, SnapshotTooLarge
from holdfast_gateway.web import problems as p
from holdfast_gateway.web.problems import Problem

log = logging.getLogger("holdfast.web")

BROKER_RETRY_SECONDS: Final = 2


def _cannot_authenticate(error: Unauthenticated) -> Problem:
    return Problem(p.UNAUTHENTICATED, error.detail, headers={"WWW-Authenticate": error.challenge})


def _malformed(error: RequestValidationError) -> Problem:
    faults = [
        {"parameter": ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0]), "detail": fault["msg"]}
        for fault in error.errors()[:20]
    ]
    names = ", ".join(fault["parameter"] for fault in faults)
    return Problem(p.MALFORMED_REQUEST, f"Not usable: {names}", errors=faults)


def _http(error: HTTPException) -> Problem:
    kind = {404: p.NOT_FOUND, 405: p.WRONG_METHOD}.get(error.status_code)
    if kind is None:
        kind = p.MALFORMED_REQUEST if error.status_code < 500 else p.INTERNAL
    return Problem(kind, headers=error.headers)


TABLE: Final[Mapping[type[Exception], Callable[[Any], Problem]]] = {
    Problem: lambda error: error,
    InvalidId: lambda error: Problem(p.MALFORMED_ID, str(error)),
    InvalidCursor: lambda error: Problem(p.MALFORMED_CURSOR, str(error)),
    RequestValidationError: _malformed,
    Unauthenticated: _cannot_authenticate,
    SessionUnknown: lambda error: Problem(p.UNKNOWN_SESSION, f"There is no session {error.key.session!r}"),
    SnapshotTooLarge: lambda error: Problem(p.SNAPSHOT_TOO_LARGE, f"Its text has more than {error.limit_bytes} bytes"),
    SourceUnavailable: lambda error: Problem(
        p.BROKER_UNAVAILABLE, str(error), retry_after_seconds=BROKER_RETRY_SECONDS
    ),
    HTTPException: _http,
}


def install(app: FastAPI, meter: Meter) -> None:
    """Answer every exception of the table with its problem, and any other with `internal`, after logging it."""

    def answer(make: Callable[[Any], Problem]) -> Callable[[Request, Exception], Any]:
        async def handler(request: Request, error: Exception) -> Response:
            problem = make(error)
            meter.count(PROBLEMS, 1, (problem.kind.slug,))
            return problem.response()

        return handler

    for kind, make in TABLE.items():
        app.add_exception_handler(kind, answer(make))
    app.add_exception_handler(Exception, answer(lambda error: Problem(p.INTERNAL)))
