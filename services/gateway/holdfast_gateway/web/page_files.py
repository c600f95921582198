"""The page at `/`: a handful of files, read once, served from memory under a strict content security policy."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Path
from starlette.responses import Response

from holdfast_gateway.web.problems import NOT_FOUND, Problem

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


def router() -> APIRouter:
    """`/` and `/page/<file>`."""
    routes = APIRouter(include_in_schema=False)
    folder = files("holdfast_gateway") / "web" / "page"
    kept = {
        entry.name: (entry.read_bytes(), kind)
        for entry in folder.iterdir()
        for suffix, kind in _TYPES.items()
        if entry.name.endswith(suffix)
    }

    def serve(name: str) -> Response:
        if name not in kept:
            raise Problem(NOT_FOUND)
        body, kind = kept[name]
        return Response(body, headers={**_HEADERS, "Content-Type": kind})

    @routes.get("/")
    async def index() -> Response:
        return serve("index.html")

    @routes.get("/page/{name}")
    async def part(name: str = Path()) -> Response:
        return serve(name)

    return routes
