"""`holdfast.testing.fixtures` in somebody else's test suite."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import holdfast

async def test_memory(holdfast_memory):
    await holdfast_memory.pipe("s", ["a"])
    assert [e.text async for e in holdfast_memory.read("s") if not e.control] == ["a"]

async def test_memory_is_new(holdfast_memory):
    assert (await holdfast_memory.state("s")).status == "none"

async def test_real(holdfast_client, holdfast_server):
    await holdfast_client.pipe("s", ["a"])
    async with holdfast.connect(holdfast_server) as other:
        assert [e.text async for e in other.read("s") if not e.control] == ["a"]

async def test_container(holdfast_container):
    async with holdfast.connect(holdfast_container) as hf:
        await hf.pipe("s", ["a"])
"""


def test_fixtures(pytester: pytest.Pytester) -> None:
    """Where there is a Docker daemon the container must run; where there is none it must be skipped and say so."""
    pytester.makeconftest('pytest_plugins = ["holdfast.testing.fixtures"]')
    pytester.makepyfile(SUITE)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings =\n"
        "    error\n    ignore::DeprecationWarning:(testcontainers|docker).*\n"
    )
    result = pytester.runpytest_subprocess("-q", "-rs")
    outcome = result.parseoutcomes()
    if outcome.get("skipped"):
        result.stdout.fnmatch_lines(["*no Docker here*"])
        assert outcome == {"passed": 3, "skipped": 1}
    else:
        assert outcome == {"passed": 4}
