"""The composition root: builds the parts of a running gateway from its settings. Nothing else knows them all."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from holdfast.wire.subjects import tenant_id
from holdfast_gateway.auth import Authenticator, Grant, NoAuthentication
from holdfast_gateway.broker.jetstream import JetStreamSource
from holdfast_gateway.listen import bind
from holdfast_gateway.observe.metrics import BUILD
from holdfast_gateway.observe.registry import Registry
from holdfast_gateway.ports import SessionSource
from holdfast_gateway.runtime.api import HubSettings, Viewer
from holdfast_gateway.runtime.hub import Hub
from holdfast_gateway.server import GatewayServer, admin_server, config_for
from holdfast_gateway.settings import Settings
from holdfast_gateway.web.admin import create_admin_app, hub_samples
from holdfast_gateway.web.app import create_app
from holdfast_gateway.web.arrivals import Arrivals
from holdfast_gateway.web.event_stream import EventStream
from holdfast_gateway.web.handover import HandoverProtocol
from holdfast_gateway.web.lifetimes import Lifetimes
from holdfast_gateway.web.stream_asgi import undo_signal_patch

log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's parts, connected and not yet listening."""

    hub: Hub
    source: SessionSource
    authenticator: Authenticator
    registry: Registry
    app: FastAPI
    arrivals: Arrivals


def nats_options(settings: Settings) -> dict[str, Any]:
    """What goes to nats-py's `connect`."""
    return {"user_credentials": settings.nats_creds} if settings.nats_creds else {}


def source_for(settings: Settings) -> JetStreamSource:
    """The broker's adapter; `start` connects it."""
    return JetStreamSource(
        settings.nats,
        prefix=settings.prefix,
        connect_seconds=settings.connect_seconds,
        reads_at_once=settings.replays_per_stream,
        options=nats_options(settings),
    )


def hub_settings(settings: Settings) -> HubSettings:
    """The runtime's share of the settings."""
    return HubSettings(
        ring_session_bytes=settings.ring_bytes,
        ring_pod_bytes=settings.ring_total_bytes,
        snapshot_bytes=settings.snapshot_bytes,
        lag_bytes=settings.lag_bound_bytes,
        max_viewers_per_session=settings.max_viewers_per_session,
        max_viewers=settings.max_viewers,
        linger_seconds=settings.linger_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        retry_min_ms=round(settings.retry_min_seconds * 1000),
        retry_max_ms=round(settings.retry_max_seconds * 1000),
        hint_lost_seconds=settings.hint_seconds,
        grace_seconds=settings.grace_seconds,
        idle_seconds=settings.idle_limit_seconds,
        broker_wait_seconds=settings.broker_wait_seconds,
        page_records=settings.replay_page,
    )


def authenticator_for(settings: Settings) -> Authenticator:
    """The authenticator that `auth` names."""
    return NoAuthentication(tenant_id(settings.tenant))


@asynccontextmanager
async def gateway(
    settings: Settings, source: SessionSource, *, extra: APIRouter | None = None
) -> AsyncIterator[Gateway]:
    """A gateway over a source that is started. Leaving it ends every viewer; the source stays open."""
    registry = Registry()
    registry.set(BUILD, 1, (version("holdfast"),))
    authenticator = authenticator_for(settings)
    arrivals = Arrivals()
    lifetimes = Lifetimes(settings.stream_age_seconds)

    def respond(viewer: Viewer, grant: Grant) -> Response:
        lifetimes.watch(viewer, grant.expires_at)
        return EventStream(viewer)

    async with Hub(source, hub_settings(settings)) as hub:
        registry.collect(hub_samples(hub, source))
        app = create_app(
            hub, settings, authenticator, source=source, meter=registry, respond=respond, arrivals=arrivals, extra=extra
        )
        try:
            yield Gateway(hub, source, authenticator, registry, app, arrivals)
        finally:
            lifetimes.close()


async def run(
    parts: Gateway,
    settings: Settings,
    sock: socket.socket,
    *,
    admin_port: int = 0,
    announce: Callable[[], None] | None = None,
) -> None:
    """Listen until a signal, then drain. `announce` is called when connections are taken.
    `admin_port` 0: no admin port.

    Raises:
        CannotListen: the admin port is taken.
    """
    undo_signal_patch()

    async def drain() -> None:
        parts.arrivals.turn_away()
        await parts.hub.drain(settings.drain_seconds)

    server = GatewayServer(
        config_for(parts.app, settings, http=HandoverProtocol if settings.handover == "auto" else "httptools"),
        drain=drain,
        drain_grace_seconds=settings.drain_grace_seconds,
        on_started=announce,
    )
    admin: tuple[GatewayServer, socket.socket] | None = None
    if admin_port:
        admin_app = create_admin_app(
            parts.registry, hub=parts.hub, source=parts.source, authenticator=parts.authenticator
        )
        admin = admin_server(admin_app), bind(settings.admin_host, admin_port, flag="--admin-port")
    try:
        async with asyncio.TaskGroup() as group:
            if admin is not None:
                group.create_task(admin[0].serve([admin[1]]), name="admin server")
            await server.serve([sock])
            if admin is not None:
                admin[0].hurry()
    finally:
        if admin is not None:
            admin[1].close()
