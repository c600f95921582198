"""Fixtures for everybody: a real nats-server of one's own, empty, in 50 ms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from holdfast_gateway.broker.embedded import EmbeddedServer
from holdfast_gateway.broker.provision import provision

# A machine that is busy with something else must not fail a property.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running nats-server with JetStream and an empty store, on a port the system chose. Stopped after the test."""
    server = EmbeddedServer(tmp_path / "nats", port=0)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@pytest.fixture
async def nats_url(nats_server: EmbeddedServer) -> str:
    """URL of a running server without any stream."""
    return nats_server.url


@pytest.fixture
async def provisioned(nats_server: EmbeddedServer) -> str:
    """URL of a running server with the streams of the default namespace: one partition, one replica."""
    report = await provision([nats_server.url], max_bytes=256 * 1024**2)
    assert report.ok, str(report)
    return nats_server.url
