"""One cluster with its gateways for all six faults; the seed is printed and may be given as HOLDFAST_FAULT_SEED."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from random import SystemRandom

import pytest
import pytest_asyncio
from bench.faults.world import World


@pytest.fixture(scope="session")
def fault_seed() -> int:
    """The seed of this series."""
    return int(os.environ.get("HOLDFAST_FAULT_SEED") or SystemRandom().randrange(10**6))


@pytest.fixture(scope="session")
def fault_directory(request: pytest.FixtureRequest, fault_seed: int) -> Generator[Path]:
    """Where everything is written; it goes only when every test passed."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-faults-"))
    failed_before = request.session.testsfailed
    yield directory
    if request.session.testsfailed == failed_before:
        shutil.rmtree(directory)
    else:
        print(f"\nfaults: seed {fault_seed}, logs kept in {directory}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fault_world(fault_directory: Path, fault_seed: int) -> AsyncIterator[World]:
    """Three NATS nodes and two gateways."""
    print(f"\nfaults: HOLDFAST_FAULT_SEED={fault_seed}")
    async with World(fault_directory) as world:
        yield world
