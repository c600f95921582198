"""A provider for each test: give it a body, get the real clients that read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.adapters.canned import served


@pytest.fixture
def provider() -> Iterator[Callable[[bytes], str]]:
    """Serve a body; returns the base URL."""
    with ExitStack() as stack:
        yield lambda body: stack.enter_context(served(body))
