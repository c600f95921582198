"""The `holdfast_container` fixture with a real engine, and a gateway on the broker in the container."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from tests.integration.gateway.programs import running, serving
from tests.integration.gateway.viewing import Viewer

pytest_plugins = ["pytester"]

SUITE = """
import holdfast

async def test_container(holdfast_container):
    async with holdfast.connect(holdfast_container) as hf:
        await hf.pipe("s", ["a", "b"])
        assert [e.text async for e in hf.read("s") if not e.control] == ["a", "b"]
"""


def test_the_fixture_runs_in_somebody_else_s_suite(pytester: pytest.Pytester, image: str) -> None:
    pytester.makeconftest('pytest_plugins = ["holdfast.testing.fixtures"]')
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    outcome = pytester.runpytest_subprocess("-q", "-rs").parseoutcomes()
    assert outcome.pop("passed") == 1
    assert not outcome.keys() & {"skipped", "failed", "errors"}


async def test_a_gateway_serves_from_a_broker_in_a_container(
    image: str, holdfast_container: str, tmp_path: Path
) -> None:
    async with running(*serving(holdfast_container), cwd=tmp_path) as gateway:
        async with holdfast.connect(holdfast_container) as hf:
            await hf.pipe("chat-42", [f"{number} " for number in range(100)])
        viewer = Viewer(f"{gateway.url}/v1/sessions/chat-42/events")
        await viewer.watch()
        assert viewer.texts == [f"{number} " for number in range(100)]
        assert viewer.seen[-1].event == "session.end"
