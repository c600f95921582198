"""Every error that is raised on purpose is explained once, where the error itself says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import holdfast.adapters.parts
import holdfast.errors
import holdfast.serving.store
import holdfast.wire.errors
from holdfast.wire.errors import HoldfastError

PAGE = Path(__file__).parents[2] / "docs/errors.md"


def errors() -> list[type[HoldfastError]]:
    """Every error that the packages raise on purpose."""
    found = {}
    for module in (holdfast.wire.errors, holdfast.errors, holdfast.serving.store, holdfast.adapters.parts):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, HoldfastError):
                found[cls.__name__] = cls
    return list(found.values())


@pytest.mark.parametrize("error", errors(), ids=lambda e: e.__name__)
def test_every_error_has_its_anchor(error: type[HoldfastError]) -> None:
    """The link in the error leads to a heading of docs/errors.md."""
    headings = re.findall(r"^#+ `?(\w+)`?", PAGE.read_text("utf-8"), re.M)
    assert headings.count(error.__name__) == 1
    assert error.anchor == error.__name__.lower()
