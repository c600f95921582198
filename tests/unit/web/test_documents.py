"""README and docs name only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast_gateway.observe import metrics
from holdfast_gateway.observe.metrics import Metric
from holdfast_gateway.options import env_of, flag_of, options

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = [ROOT / "README.md", ROOT / "docs" / "operations.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.name)
def test_every_flag_variable_and_metric_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    flags = {flag_of(f.name) for f, _ in options()}
    variables = {env_of(f.name) for f, _ in options()} | {o.also_env for _, o in options()}
    names = {m.full_name for m in vars(metrics).values() if isinstance(m, Metric)}
    elsewhere = {"--signal"}  # nats-server's
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= flags | elsewhere
    assert set(re.findall(r"HOLDFAST_[A-Z][A-Z_]+", text)) <= variables
    assert set(re.findall(r"holdfast_[a-z_]+(?:_total|_bytes|ready|viewers|sessions)", text)) <= names


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in OURS:
        assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= targets
