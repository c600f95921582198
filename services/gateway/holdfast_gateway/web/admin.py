"""The admin port: `/metrics`, and health again. Not for viewers: it says how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp

from holdfast_gateway.auth import Authenticator
from holdfast_gateway.observe import metrics as m
from holdfast_gateway.observe.registry import CONTENT_TYPE, Registry, Sample
from holdfast_gateway.runtime.hub import Hub
from holdfast_gateway.web import errors, health
from holdfast_gateway.web.arrivals import Arrivals
from holdfast_gateway.web.event_stream import EventStream
from holdfast_gateway.web.parts import Parts, Ready


def create_admin_app(registry: Registry, *, hub: Hub, source: Ready, authenticator: Authenticator) -> ASGIApp:
    """The admin port's application."""
    parts = Parts(hub, source, authenticator, registry, lambda viewer, grant: EventStream(viewer), Arrivals())
    app = FastAPI(title="Holdfast admin", openapi_url=None, docs_url=None, redoc_url=None)
    errors.install(app, registry)

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(registry.exposition(), headers={"Content-Type": CONTENT_TYPE})

    app.include_router(health.router(parts))
    return app


def hub_samples(hub: Hub, source: Ready) -> Callable[[], Iterator[Sample]]:
    """What the hub counts by itself, as samples; asked at each exposition."""
    c = hub.counters
    plain: tuple[tuple[m.Metric, Callable[[], float]], ...] = (
        (m.READY, lambda: float(source.ready and not hub.draining)),
        (m.VIEWERS, lambda: hub.viewers),
        (m.SESSIONS, lambda: hub.sessions),
        (m.RING_BYTES, lambda: hub.ring_bytes),
        (m.ATTACHED, lambda: c.attached),
        (m.RECORDS, lambda: c.records),
        (m.VOID_RECORDS, lambda: c.void_records),
        (m.UNKNOWN_KINDS, lambda: c.unknown_kinds),
        (m.MALFORMED, lambda: c.malformed),
        (m.WRITES, lambda: c.writes),
        (m.WRITTEN_BYTES, lambda: c.written_bytes),
        (m.SKIPS, lambda: c.skips),
        (m.REPLAY_PAGES, lambda: c.replay_pages),
        (m.LOST_STORED, lambda: c.lost_stored),
        (m.TROUBLES, lambda: c.troubles),
        (m.FEEDS_GONE, lambda: c.feeds_gone),
        (m.FAILURES, lambda: c.failures),
    )
    labelled = ((m.CLOSED, c.closed), (m.GAPS, c.gaps), (m.FAILED_STORED, c.failed_stored))

    def samples() -> Iterator[Sample]:
        for metric, value in plain:
            yield metric, value(), ()
        for metric, values in labelled:
            for label, count in list(values.items()):
                yield metric, count, (label,)

    return samples
