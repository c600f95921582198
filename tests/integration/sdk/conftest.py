"""A real nats-server for the SDK's integration tests: one for the session, one of its own where a test hurts it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

import holdfast
from holdfast.testing import NatsServer, create_streams

_numbers = itertools.count()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One node, provisioned by the first test that connects."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture
async def url(broker: NatsServer) -> str:
    if not (broker.directory / "provisioned").exists():
        await create_streams([broker.url], partitions=2)
        (broker.directory / "provisioned").touch()
    return broker.url


@pytest_asyncio.fixture
async def hf(url: str) -> AsyncIterator[holdfast.Holdfast]:
    async with holdfast.connect(url, handle_sigterm=False) as client:
        yield client


@pytest_asyncio.fixture
async def hf2(url: str) -> AsyncIterator[holdfast.Holdfast]:
    """A second process's client."""
    async with holdfast.connect(url, handle_sigterm=False) as client:
        yield client


@pytest.fixture
def sid() -> str:
    """A session id that no other test has."""
    return f"s-{next(_numbers)}"


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Callable[..., NatsServer]]:
    """Servers of the test's own, to kill and stop."""
    started: list[NatsServer] = []

    def make(name: str = "own", **kw: object) -> NatsServer:
        server = NatsServer(tmp_path / name, **kw).start()  # type: ignore[arg-type]
        started.append(server)
        return server

    yield make
    for server in started:
        server.stop()
