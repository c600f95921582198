"""The authenticator's interface and its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from holdfast.wire import SessionId, TenantId


class Action(StrEnum):
    """What a request wants of a session."""

    READ = "read"
    CANCEL = "cancel"


class Unauthenticated(Exception):
    """The credentials are missing, malformed, expired or not believed. `detail` says what to send, not why."""

    retryable = False

    def __init__(self, detail: str, *, challenge: str = "Bearer") -> None:
        self.detail = detail
        self.challenge = challenge
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What of a request an authenticator may look at. Header names are lower case.

    Query and cookies are there because `EventSource` cannot send headers of one's choice.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]


class Grant(Protocol):
    """What the holder of these credentials may do."""

    @property
    def tenant(self) -> TenantId:
        """Whose sessions the request is about."""

    @property
    def expires_at(self) -> float | None:
        """Unix time at which a stream opened with this grant has to end; None: never."""

    def allows(self, action: Action, session: SessionId) -> bool:
        """From the claims alone: nothing is looked up."""


class Authenticator(Protocol):
    """Turns credentials into a grant. Must not touch sessions or the broker."""

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Raises `Unauthenticated`."""
