"""The viewers' HTTP application, from its parts."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from holdfast_gateway.auth import Authenticator, Grant
from holdfast_gateway.observe.metrics import Meter, Silent
from holdfast_gateway.runtime.api import Viewer
from holdfast_gateway.runtime.hub import Hub
from holdfast_gateway.settings import Settings
from holdfast_gateway.web import documents, errors, events, health, openapi, page_files, sessions
from holdfast_gateway.web.arrivals import Arrivals
from holdfast_gateway.web.event_stream import EventStream
from holdfast_gateway.web.middleware import HostGuard, SafeHeaders
from holdfast_gateway.web.parts import Parts, Ready, Respond

_DESCRIPTION: Final = """Resumable event streams with any number of viewers. A session is an ordered log of one run or
several; viewers follow it from any place in it, and come back to exactly where they were with the id of the last event
they have."""


def create_app(
    hub: Hub,
    settings: Settings,
    authenticator: Authenticator,
    *,
    source: Ready,
    meter: Meter | None = None,
    respond: Respond | None = None,
    arrivals: Arrivals | None = None,
    extra: APIRouter | None = None,
) -> FastAPI:
    """The application for the viewers' port.

    Args:
        source: asked for nothing but whether the broker answers.
        meter: where counts go; nowhere, if absent.
        respond: makes the streaming response; the fastest way out there is, if absent.
        arrivals: turned away when the gateway leaves.
        extra: further routes, like `dev`'s.

    The application has no lifespan: whoever makes the hub ends it.
    """
    parts = Parts(hub, source, authenticator, meter or Silent(), respond or _stream, arrivals or Arrivals())
    app = FastAPI(
        title="Holdfast",
        version=version("holdfast"),
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=_middleware(settings),
        openapi_tags=[
            {"name": "sessions", "description": "What viewers and their back ends ask for."},
            {"name": "health", "description": "For load balancers and orchestrators."},
        ],
    )
    errors.install(app, parts.meter)
    app.include_router(events.router(parts, settings))
    app.include_router(sessions.router(parts, max_requests=settings.max_requests))
    app.include_router(health.router(parts))
    app.include_router(documents.router(app))
    if extra is not None:
        app.include_router(extra)
    if settings.page:
        app.include_router(page_files.router())
    openapi.install(app, _DESCRIPTION)
    return app


def _stream(viewer: Viewer, grant: Grant) -> Response:
    return EventStream(viewer)


def _middleware(settings: Settings) -> list[Middleware]:
    chain = [Middleware(HostGuard, allowed=settings.host_names), Middleware(SafeHeaders)]
    if settings.cors_origins:
        anyone = "*" in settings.cors_origins
        chain.append(
            Middleware(
                CORSMiddleware,
                allow_origins=["*"] if anyone else list(settings.cors_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Last-Event-ID", "Authorization", "Cache-Control"],
                # A wildcard with credentials would let any page act as its visitor.
                allow_credentials=not anyone,
                expose_headers=["Retry-After"],
                max_age=3600,
            )
        )
    return chain
