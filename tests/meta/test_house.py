"""The house's own rules: what every tracked file has to keep."""

from __future__ import annotations

import importlib
import inspect
import re
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "services").rglob("*.py"))
LONG = 300
"""Lines past which a module has to be looked at for the second thing it does."""

LOOKED_AT: dict[str, int] = {
    "gateway/holdfast_gateway/broker/jetstream/source.py": 350,
    "gateway/holdfast_gateway/runtime/hub.py": 350,
    "producer_sdk/holdfast/client.py": 450,
    "producer_sdk/holdfast/connection.py": 350,
    "producer_sdk/holdfast/serving/nats_store.py": 350,
    "producer_sdk/holdfast/session.py": 450,
    "producer_sdk/holdfast/wire/run.py": 350,
    "producer_sdk/holdfast/writer.py": 400,
}
"""Modules past it that do one thing, and the length they may have."""


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30).stdout
    return [ROOT / name for name in names.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every tracked text, by its path."""
    if not (ROOT / ".git").exists():
        pytest.fail("these rules are about tracked files: run them in a clone")
    found = {}
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found[str(path.relative_to(ROOT))] = data.decode("utf-8")
    return found


def test_no_path_of_a_machine_is_in_the_project(texts: dict[str, str]) -> None:
    """Whoever clones it has another home."""
    homes = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work/\w+)/")
    assert not [name for name, text in texts.items() if homes.search(text)]


def test_no_key_is_in_the_project(texts: dict[str, str]) -> None:
    """No private keys, no NATS seeds, no API keys."""
    keys = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n|\bS[UAONC][A-Z2-7]{56}\b|\bsk-[A-Za-z0-9]{32,}|\bAKIA[A-Z0-9]{16}\b"
    )
    assert not [name for name, text in texts.items() if keys.search(text)]


def test_modules_do_one_thing() -> None:
    """The median module is short; a long one has been looked at."""
    sizes = {
        str(path.relative_to(ROOT / "services")): len(path.read_text("utf-8").splitlines())
        for path in SOURCES
        if path.name != "__init__.py"
    }
    assert statistics.median(sizes.values()) <= 150
    assert {name: size for name, size in sizes.items() if size > LOOKED_AT.get(name, LONG)} == {}
    assert set(LOOKED_AT) <= set(sizes), "a module that is not there any more"


def test_no_module_is_called_what_says_nothing() -> None:
    """utils, helpers, manager and handler hide what they hold."""
    empty = {"utils", "util", "helpers", "helper", "manager", "managers", "handler", "handlers", "common", "misc"}
    assert not [path.name for path in SOURCES if path.stem in empty]


@pytest.mark.parametrize("module", ["holdfast", "holdfast.wire", "holdfast_gateway.ports", "holdfast_gateway.core.sse"])
def test_what_is_public_is_documented(module: str) -> None:
    """Every class, function and public method that others import says what it does."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", [name for name in vars(found) if not name.startswith("_")])
    bare = []
    for name in names:
        thing = getattr(found, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or not thing.__module__.startswith("holdfast"):
            continue
        bare += [] if thing.__doc__ else [name]
        if inspect.isclass(thing):
            methods = [m for m in vars(thing).items() if inspect.isfunction(m[1]) and not m[0].startswith("_")]
            bare += [f"{name}.{m}" for m, function in methods if not inspect.getdoc(function)]
    assert not bare


def test_readme_names_targets_that_exist(texts: dict[str, str]) -> None:
    """Every `make x` in a page is a target, and every target says what it does."""
    makefile = texts["Makefile"]
    described = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.M))
    for name, text in texts.items():
        if name.endswith(".md"):
            for target in re.findall(r"`make ([a-z0-9-]+)", text) + re.findall(r"^ {4}make ([a-z0-9-]+)", text, re.M):
                assert target in described, f"{name}: make {target}"


def test_pages_link_to_files_that_exist(texts: dict[str, str]) -> None:
    """No relative link of a page leads nowhere."""
    broken = []
    for name, text in texts.items():
        if name.endswith(".md"):
            for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if (
                    "://" not in link
                    and not link.startswith("mailto:")
                    and not (ROOT / name).parent.joinpath(link).exists()
                ):
                    broken.append(f"{name}: {link}")
    assert not broken


def test_no_test_is_switched_off(texts: dict[str, str]) -> None:
    """A skip without a reason, or one that is always true, hides what it should show."""
    off = re.compile(r"@pytest\.mark\.skip\b|@pytest\.mark\.xfail\b|pytest\.importorskip\(|@unittest\.skip\b")
    names = [n for n, text in texts.items() if n.startswith("tests/") and n.endswith(".py") and off.search(text)]
    assert [n for n in names if n != "tests/meta/test_house.py"] == []
