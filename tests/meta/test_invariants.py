"""docs/invariants.md, the tests and the code keep together."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from holdfast_gateway.observe import metrics
from holdfast_gateway.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/invariants.md").read_text("utf-8")
SOURCES = sorted((ROOT / "services").rglob("*.py"))


def functions() -> dict[str, Path]:
    """Every test function of the project, by name."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                    found[node.name] = path
    return found


def test_every_invariant_has_a_test_of_its_name_and_the_reverse() -> None:
    """`test_i3_...` tries to break I3; no test names an invariant that the page has not."""
    numbers = [int(n) for n in re.findall(r"^\*\*I(\d+)\*\* ", PAGE, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    tried = {int(m[1]) for name in functions() if (m := re.match(r"test_i(\d+)_", name))}
    assert tried == set(numbers)


def test_the_files_that_the_page_names_exist() -> None:
    """Tests and modules are named as they are."""
    for name in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:core|runtime)/\w+\.py)`", PAGE):
        assert (ROOT / "services/gateway/holdfast_gateway" / name).exists(), name


def test_code_cites_invariants_that_exist() -> None:
    """`# I3` in the code leads somewhere."""
    numbers = set(re.findall(r"^\*\*I(\d+)\*\* ", PAGE, re.M))
    for path in SOURCES:
        for cited in re.findall(r"#.*\bI(\d+)\b", path.read_text("utf-8")):
            assert cited in numbers, f"{path.name} cites I{cited}"


def test_i10_no_code_asks_for_a_consumer() -> None:
    """Neither the API nor the client's ways to it occur in what we ship."""
    ways = re.compile(r"CONSUMER\.(CREATE|DURABLE|MSG)|add_consumer|pull_subscribe|push_subscribe|ordered_consumer")
    assert not [path.name for path in SOURCES if ways.search(path.read_text("utf-8"))]


def test_i11_arrows_point_one_way() -> None:
    """import-linter's contracts are kept."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_i12_every_buffer_in_the_table_is_bounded_by_something_that_exists() -> None:
    """Settings, constants and metrics of the table are the code's; each row says what happens when full."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, *table = rows
    assert len(header) == 5
    assert len(table) > 15
    settings = {field.name for field in dataclasses.fields(Settings)}
    named = {m.name.removesuffix("_total") for m in vars(metrics).values() if isinstance(m, metrics.Metric)}
    code = "\n".join(path.read_text("utf-8") for path in SOURCES)
    for buffer, bound, limits, metric, policy in table:
        assert re.search(r"\d", bound), buffer
        assert policy.strip(), buffer
        names = re.findall(r"`(\w+)`", limits)
        assert names, buffer
        for name in names:
            assert name in settings or re.search(rf"^ *{name}\b.*= ", code, re.M), f"{buffer}: {name}"
        for name in re.findall(r"`(\w+)`", metric):
            assert name in named, f"{buffer}: {name}"
