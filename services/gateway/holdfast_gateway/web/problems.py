"""Errors as RFC 9457 problems: one table from what went wrong to the status, and to what the caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem. `slug` names it for machines, `remedy` says what to do."""

    slug: str
    status: int
    title: str
    remedy: str

    @property
    def type(self) -> str:
        """A relative reference that the gateway itself answers with this text."""
        return f"/problems/{self.slug}"


MALFORMED_ID: Final = Kind(
    "malformed-id",
    400,
    "The session or run id is malformed",
    "Use 1 to 128 characters of A-Z a-z 0-9 _ and -.",
)
MALFORMED_CURSOR: Final = Kind(
    "malformed-cursor",
    400,
    "The cursor is malformed",
    "Send back the id of an event exactly as it came, in Last-Event-ID or ?last_event_id=; or send none to start over.",
)
MALFORMED_REQUEST: Final = Kind(
    "malformed-request",
    400,
    "A parameter is malformed",
    "Mend the parameters named in `errors`; /docs lists them all.",
)
UNAUTHENTICATED: Final = Kind(
    "unauthenticated",
    401,
    "The request's credentials are missing or not believed",
    "Send valid credentials; the WWW-Authenticate header names the scheme.",
)
FOREIGN_ORIGIN: Final = Kind(
    "foreign-origin", 403, "Only the gateway's own page may do this", "Open the gateway's own address."
)
UNKNOWN_SESSION: Final = Kind(
    "unknown-session",
    404,
    "There is no such session",
    "Check the id. If its producer is about to start, wait for it with ?wait=SECONDS.",
)
NOT_FOUND: Final = Kind("not-found", 404, "There is nothing at this address", "/docs lists what there is.")
WRONG_METHOD: Final = Kind(
    "wrong-method", 405, "This address does not take that method", "The Allow header names the methods it takes."
)
UNKNOWN_RUN: Final = Kind(
    "unknown-run",
    404,
    "The session has no such run",
    "GET the session for its last run's number; a run that has not started can be named with ?name=.",
)
SNAPSHOT_TOO_LARGE: Final = Kind(
    "snapshot-too-large",
    409,
    "The run is too large to be sent in one piece",
    "Read its events instead, or raise --snapshot (HOLDFAST_SNAPSHOT).",
)
NO_PRODUCER: Final = Kind(
    "no-producer",
    404,
    "No producer of this gateway is at work on the session",
    "It has ended, or another program is the producer. Start an answer first.",
)
TOO_LARGE: Final = Kind("too-large", 413, "The request is too large", "Send less.")
WRONG_TYPE: Final = Kind(
    "wrong-type", 415, "The body is of a type that is not read here", "Send JSON, with Content-Type: application/json."
)
WRONG_HOST: Final = Kind(
    "wrong-host",
    421,
    "This gateway does not answer under that host name",
    "Add the name to --allowed-hosts (HOLDFAST_ALLOWED_HOSTS), or use one that is in it.",
)
TOO_MANY: Final = Kind(
    "too-many-requests", 429, "A limit of this gateway is reached", "Come back after the seconds in Retry-After."
)
INTERNAL: Final = Kind("internal", 500, "A fault of the gateway", "Its log has the details; please report them.")
BROKER_UNAVAILABLE: Final = Kind(
    "broker-unavailable",
    503,
    "The broker cannot be asked just now",
    "Try again after the seconds in Retry-After. Nothing is lost: the log is kept by the broker.",
)
DRAINING: Final = Kind(
    "draining", 503, "This gateway is shutting down", "Try again after the seconds in Retry-After: another one answers."
)

KINDS: Final[Mapping[str, Kind]] = {
    kind.slug: kind
    for kind in (
        MALFORMED_ID,
        MALFORMED_CURSOR,
        MALFORMED_REQUEST,
        UNAUTHENTICATED,
        FOREIGN_ORIGIN,
        UNKNOWN_SESSION,
        NOT_FOUND,
        WRONG_METHOD,
        UNKNOWN_RUN,
        SNAPSHOT_TOO_LARGE,
        NO_PRODUCER,
        TOO_LARGE,
        WRONG_TYPE,
        WRONG_HOST,
        TOO_MANY,
        INTERNAL,
        BROKER_UNAVAILABLE,
        DRAINING,
    )
}


class Problem(Exception):
    """Raised by a route; becomes the response."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        retry_after_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        self.kind = kind
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.headers = dict(headers or {})
        self.errors = errors
        super().__init__(f"{kind.slug}: {detail}")

    def response(self) -> JSONResponse:
        """The problem as a response. `detail` ends with the remedy, for people who read only that."""
        kind = self.kind
        body: dict[str, Any] = {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": f"{self.detail.rstrip('.')}. {kind.remedy}" if self.detail else kind.remedy,
        }
        if self.errors:
            body["errors"] = self.errors
        headers = {"Cache-Control": "no-store", **self.headers}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        return JSONResponse(body, kind.status, headers, media_type=MEDIA_TYPE)
