"""`dev`: everything on one machine, from nothing, and nothing left behind but the sessions.

A real nats-server is a child of this process, its store under `.holdfast/`. `.holdfast/dev.json` tells programs on this
machine where it is: `holdfast.connect()` reads it when nothing else is given.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from holdfast_gateway import compose
from holdfast_gateway.broker import provision as streams
from holdfast_gateway.broker.embedded import EmbeddedServer, EmbeddedServerError
from holdfast_gateway.failures import INCOMPATIBLE, Failure
from holdfast_gateway.listen import bind, url_of
from holdfast_gateway.producers import ProcessProducers
from holdfast_gateway.settings import Settings
from holdfast_gateway.web import dev as dev_routes

log = logging.getLogger("holdfast")


async def develop(settings: Settings) -> int:
    """Run until Ctrl-C; then stop every child within two seconds.

    Raises:
        CannotListen: the port is taken.
        EmbeddedServerError: nats-server cannot run, or the directory is in use.
        Failure: the store's streams are of another version.
    """
    sock = bind(settings.host, settings.port)
    if not settings.is_loopback:
        log.warning("%s is not loopback: whoever reaches this port can start and stop producers here", settings.host)
    home = Path(settings.home)
    server: EmbeddedServer | None = None
    try:
        server = await _server(home)
        settings = replace(settings, nats=(server.url,))
        report = await streams.provision(
            settings.nats,
            settings.partitions,
            settings.replicas,
            settings.max_age_seconds,
            settings.max_bytes,
            upgrade=True,  # the store is ours alone: other bounds than last time are meant
            prefix=settings.prefix,
        )
        if not report.ok:
            raise Failure(f"the store in {home} is not one this version can use:\n{report}", INCOMPATIBLE)
        source = compose.source_for(settings)
        try:
            await source.start()
            async with ProcessProducers(settings, server.url) as producers:
                extra = dev_routes.router(producers)
                async with compose.gateway(settings, source, extra=extra) as parts:
                    url = url_of(sock)
                    with _told(home / "dev.json", server.url, url):
                        await compose.run(parts, settings, sock, announce=lambda: _announce(url, settings))
        finally:
            await source.close()
    finally:
        if server is not None:
            await server.close()
        sock.close()
    return 0


async def _server(home: Path) -> EmbeddedServer:
    """The embedded server, where it was last time if that port is free: producers that outlived us look there."""
    for port in (_last_port(home), None):
        server = EmbeddedServer(home, port=port)
        try:
            await server.start()
        except EmbeddedServerError as error:
            if port is None or "in use: stop what listens there" not in str(error):
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _last_port(home: Path) -> int | None:
    try:
        return int(json.loads((home / "dev.json").read_text())["nats_url"].rpartition(":")[2])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _told(path: Path, nats_url: str, gateway_url: str) -> Iterator[None]:
    """`dev.json` for as long as we run; its last word stays, so that a restart comes back to the same port."""
    told = {"nats_url": nats_url, "gateway_url": gateway_url, "pid": os.getpid()}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(told) + "\n")
    fresh.replace(path)
    try:
        yield
    finally:
        fresh.write_text(json.dumps(told | {"pid": None}) + "\n")
        fresh.replace(path)


def _announce(url: str, settings: Settings) -> None:
    print(f"Holdfast is on {url}/", flush=True)
    print(f"  nats-server: {settings.nats[0]}, store in {settings.home}/", flush=True)
    print("  try: date | holdfast publish chat-42", flush=True)
    print("  Ctrl-C ends it; sessions stay", flush=True)
