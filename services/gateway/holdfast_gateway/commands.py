"""`serve` and `provision`: settings in, exit code out."""

from __future__ import annotations

import gc
import sys
from typing import Final

from holdfast_gateway import compose
from holdfast_gateway.broker import provision as streams
from holdfast_gateway.failures import INCOMPATIBLE, Failure
from holdfast_gateway.listen import bind, join, url_of
from holdfast_gateway.settings import Settings
from holdfast_gateway.workers import Place, end_with

COLLECT_AFTER: Final = 20_000
"""New objects before the collector looks for circles. Python's 700 is an eighth of a busy pod's CPU: records and marks
are made by the thousand and die or stay without circles."""


async def serve(settings: Settings, place: Place | None = None) -> int:
    """Serve viewers until a signal. `place`: among the workers of a supervisor, if there is one.

    Raises:
        CannotListen: before anything else is tried.
        SourceUnavailable: the broker did not answer in time.
        Failure: the streams are not what this version needs; says how, field by field.
    """
    sock = bind(settings.host, settings.port) if place is None else join(settings.host, place.port)
    try:
        report = await streams.verify(
            settings.nats,
            prefix=settings.prefix,
            connect_seconds=settings.connect_seconds,
            options=compose.nats_options(settings),
        )
        if not report.ok:
            raise Failure(f"the streams cannot be served:\n{report}", INCOMPATIBLE)
        source = compose.source_for(settings)
        try:
            await source.start()
            async with compose.gateway(settings, source) as parts, end_with(place):
                await compose.run(
                    parts,
                    settings,
                    sock,
                    admin_port=settings.admin_port and settings.admin_port + (place.index if place else 0),
                    announce=lambda: _announce(url_of(sock), settings, place),
                )
        finally:
            await source.close()
    finally:
        sock.close()
    return 0


def _announce(url: str, settings: Settings, place: Place | None) -> None:
    collect_rarely()
    if place is None:
        print(f"Holdfast gateway on {url}", flush=True)
        if settings.page:
            print(f"The page: {url}/", flush=True)


def collect_rarely() -> None:
    """Leave what is loaded by now out of all later collections, and have those seldom. For the whole process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 50)


async def provision(settings: Settings) -> int:
    """Create or verify the streams; say what was done, or what is in the way.

    Raises:
        SourceUnavailable: the broker did not answer in time.
    """
    try:
        report = await streams.provision(
            settings.nats,
            settings.partitions,
            settings.replicas,
            settings.max_age_seconds,
            settings.max_bytes,
            settings.upgrade,
            settings.dry_run,
            prefix=settings.prefix,
            connect_seconds=settings.connect_seconds,
            options=compose.nats_options(settings),
        )
    except ValueError as fault:
        raise Failure(str(fault), 2) from None
    print(report, file=sys.stdout if report.ok else sys.stderr)
    return 0 if report.ok else INCOMPATIBLE
