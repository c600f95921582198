"""What the routes are given: the hub and its neighbours, in one value. No globals, so two gateways fit one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from holdfast.wire import SessionKey
from holdfast.wire.subjects import session_id
from holdfast_gateway.auth import Action, Authenticator, Credentials, Grant
from holdfast_gateway.observe.metrics import Meter
from holdfast_gateway.runtime.api import Viewer
from holdfast_gateway.runtime.hub import Hub
from holdfast_gateway.web.arrivals import Arrivals
from holdfast_gateway.web.problems import UNKNOWN_SESSION, Problem


class Ready(Protocol):
    """Whether the broker answers just now: all that health needs to know of a source."""

    @property
    def ready(self) -> bool: ...


Respond = Callable[[Viewer, Grant], Response]
"""Makes the response that streams to an admitted viewer: the ASGI way or the fast one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a request can touch."""

    hub: Hub
    source: Ready
    authenticator: Authenticator
    meter: Meter
    respond: Respond
    arrivals: Arrivals

    async def admit(self, request: Request, session: str, action: Action) -> tuple[SessionKey, Grant]:
        """Who asks for what. What the grant does not allow looks as if it did not exist, without a look at the log.

        Raises:
            InvalidId: the session id is malformed.
            Unauthenticated: the credentials are not believed.
            Problem: 404.
        """
        checked = session_id(session)
        credentials = Credentials(request.headers, request.query_params, request.cookies)
        grant = await self.authenticator.authenticate(credentials)
        if not grant.allows(action, checked):
            raise Problem(UNKNOWN_SESSION, f"There is no session {checked!r}")
        return SessionKey(grant.tenant, checked), grant
