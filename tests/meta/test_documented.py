"""Settings, metrics and errors: each is documented once, and nothing is documented that is not there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from holdfast_gateway.observe import metrics
from holdfast_gateway.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def test_every_setting_is_documented_once() -> None:
    """A flag and a variable in a row of docs/configuration.md each."""
    rows = re.findall(r"^\| `(--[a-z0-9-]+)` \| `(HOLDFAST_[A-Z0-9_]+)`", page("configuration.md"), re.M)
    flags = [flag for flag, _ in rows]
    assert len(flags) == len(set(flags)) == len(dataclasses.fields(Settings))
    for flag, variable in rows:
        assert variable == "HOLDFAST_" + flag[2:].upper().replace("-", "_")


def test_no_setting_is_named_that_is_not_there() -> None:
    """Every `HOLDFAST_X` in the docs is read somewhere in the code."""
    services = DOCS.parent / "services"
    code = "\n".join(path.read_text("utf-8") for path in services.rglob("*.py")) + page("configuration.md")
    stems = ("HOLDFAST_<", "HOLDFAST_FLAG")
    for path in DOCS.rglob("*.md"):
        for name in re.findall(r"\bHOLDFAST_[A-Z][A-Z_]+\b", path.read_text("utf-8")):
            assert name in stems or name in code, f"{path.name}: {name}"


def test_every_metric_is_documented_once() -> None:
    """docs/metrics.md has the table that the code makes: name, kind, labels, meaning."""
    rows = [line for line in page("metrics.md").splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{m.full_name}` | {m.kind.value} | {', '.join(m.labels) or '-'} | {m.help} |"
        for m in vars(metrics).values()
        if isinstance(m, metrics.Metric)
    ]


def test_no_metric_is_named_that_is_not_there() -> None:
    """An alert on a name that nobody counts stays silent for ever."""
    names = {m.full_name for m in vars(metrics).values() if isinstance(m, metrics.Metric)}
    for name in re.findall(r"`(holdfast_[a-z_]+)(?:\{[^`]*)?`", page("operations.md") + page("metrics.md")):
        assert name in names, name
