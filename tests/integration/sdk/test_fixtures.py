"""`holdfast.testing.fixtures` in somebody else's test suite."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_a_test_run_that_is_killed_leaves_no_server(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from holdfast.testing import NatsServer; "
        "server = NatsServer(Path(sys.argv[1])).start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        os.kill(server, 0)
        run.send_signal(signal.SIGKILL)
        run.wait()
    deadline = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(server, 0)
            if b"Z" in Path(f"/proc/{server}/stat").read_bytes().rpartition(b")")[2].split()[:1]:
                return
            time.sleep(0.02)
        os.kill(server, signal.SIGKILL)
        pytest.fail("the server outlived its test run")
