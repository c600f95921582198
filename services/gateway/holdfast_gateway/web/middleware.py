"""Pure ASGI middleware. Starlette's `BaseHTTPMiddleware` holds a response's head back until the body's first chunk:
a viewer of a silent session would see nothing, and the fast way out could not start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast_gateway.web.problems import WRONG_HOST, Problem


class HostGuard:
    """Answers only under names it knows: a page elsewhere that rebinds its DNS name to this machine gets 421."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._any = "*" in allowed
        self._exact = frozenset(name.lower() for name in allowed)
        self._suffixes = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._any or self._knows(host_of(scope)):
            await self._app(scope, receive, send)
            return
        await Problem(WRONG_HOST, f"The request names {host_of(scope)[:80]!r}").response()(scope, receive, send)

    def _knows(self, host: str) -> bool:
        return host in self._exact or host.endswith(self._suffixes or ("\0",))


def host_of(scope: Scope) -> str:
    """The `Host` header's name, lower case, without port and brackets."""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1").strip().lower()
            if host.startswith("["):
                return str(host[1:].partition("]")[0])
            return str(host.partition(":")[0])
    return ""


_NOSNIFF: Final = "X-Content-Type-Options"


class SafeHeaders:
    """`nosniff` on everything: what a producer wrote is never guessed to be a page or a script."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_NOSNIFF] = "nosniff"
            await send(message)

        await self._app(scope, receive, marked)
