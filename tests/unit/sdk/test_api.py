"""The package's surface: what it exports, how it is typed, what it costs to import, what its errors promise."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import holdfast
import holdfast.sync
import holdfast.testing

DOCS = Path(__file__).parents[3] / "docs"

EXPORTS = [
    "BrokerRewound",
    "BrokerUnavailable",
    "BufferFull",
    "ContractError",
    "ContractMismatch",
    "Cursor",
    "Event",
    "EventTooLarge",
    "Holdfast",
    "HoldfastError",
    "InvalidCursor",
    "InvalidEventType",
    "InvalidId",
    "NotProvisioned",
    "NotResumable",
    "PipeResult",
    "RunState",
    "Session",
    "SessionCancelled",
    "SessionClosed",
    "SessionExpired",
    "SessionFenced",
    "SessionNotFound",
    "SessionOpen",
    "StreamEvent",
    "StreamReplaced",
    "Uncertain",
    "__version__",
    "connect",
]

SIGNATURES = {
    "connect": "servers tenant prefix credentials tls inbox_prefix timeout_seconds handle_sigterm",
    "Holdfast.session": "self session_id run_id if_open lease_seconds min_publish_interval_seconds buffer_bytes "
    "buffer_events give_up_seconds open_timeout_seconds failure_message",
    "Holdfast.resume": "self session_id lease_seconds min_publish_interval_seconds buffer_bytes buffer_events "
    "give_up_seconds open_timeout_seconds failure_message",
    "Holdfast.pipe": "self session_id source result run_id if_open lease_seconds min_publish_interval_seconds "
    "failure_message",
    "Holdfast.launch": "self session_id source result run_id if_open lease_seconds min_publish_interval_seconds "
    "failure_message",
    "Holdfast.read": "self session_id cursor follow wait_seconds",
    "Holdfast.state": "self session_id",
    "Holdfast.cancel": "self session_id run reason",
    "Holdfast.erase": "self session_id",
    "Holdfast.close": "self",
    "Session.write": "self value type",
    "Session.write_async": "self value type",
    "Session.drain": "self",
    "Session.reset": "self",
    "Session.end": "self result",
    "Session.fail": "self reason message",
    "Session.open": "self",
    "Session.stop": "self timeout_seconds",
    "Session.on_cancel": "self callback",
}


def errors() -> list[type[holdfast.HoldfastError]]:
    found = [getattr(holdfast, name) for name in EXPORTS]
    return [e for e in found if isinstance(e, type) and issubclass(e, holdfast.HoldfastError)]


def test_the_export_list_is_frozen() -> None:
    """A name more or less is a change of the public interface: change this list with it, and the changelog."""
    assert sorted(holdfast.__all__) == sorted(EXPORTS)
    assert holdfast.sync.__all__ == ["Holdfast", "Session", "connect"]


def test_signatures_are_frozen() -> None:
    for path, wanted in SIGNATURES.items():
        target: object = holdfast
        for name in path.split("."):
            target = getattr(target, name)
        assert callable(target)
        assert list(inspect.signature(target).parameters) == wanted.split(), path


@pytest.mark.parametrize("name", ["Session", "Holdfast"])
def test_the_sync_facade_has_the_same_names(name: str) -> None:
    """Beside `write_async`, which is `write_wait` there, and `launch`, which needs a loop."""
    ours = {n for n in dir(getattr(holdfast, name)) if not n.startswith("_")} - {"write_async", "launch"}
    theirs = {n for n in dir(getattr(holdfast.sync, name)) if not n.startswith("_")} - {"write_wait"}
    assert ours == theirs


@pytest.mark.parametrize("error", errors(), ids=lambda e: e.__name__)
def test_every_error_has_its_heading_in_the_catalogue(error: type[holdfast.HoldfastError]) -> None:
    assert error.anchor == error.__name__.lower()
    assert f"\n## {error.__name__}\n" in (DOCS / "errors.md").read_text("utf-8")


def test_the_catalogue_has_no_heading_without_an_error() -> None:
    """The client's own come first, in order; behind them those of in-app serving and of the adapters."""
    headings = [h[3:] for h in (DOCS / "errors.md").read_text("utf-8").splitlines() if h.startswith("## ")]
    ours = sorted(e.__name__ for e in errors())
    assert headings[: len(ours)] == ours
    defined = set()
    for folder in ("serving", "adapters"):
        for file in (Path(holdfast.__file__).parent / folder).rglob("*.py"):
            defined |= {n.name for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.ClassDef)}
    assert set(headings[len(ours) :]) <= defined


def test_an_error_says_where_it_is_explained() -> None:
    assert holdfast.SessionClosed("s").docs == "docs/errors.md#sessionclosed"
    assert holdfast.BufferFull(1, 1, 1, 1).retryable
    assert not holdfast.SessionFenced("s", "superseded", 3, 0).retryable


@pytest.mark.parametrize(
    "module",
    [
        "holdfast.client",
        "holdfast.session",
        "holdfast.sync.client",
        "holdfast.sync.session",
        "holdfast.testing",
        "holdfast.errors",
    ],
)
def test_everything_public_is_documented(module: str) -> None:
    loaded = importlib.import_module(module)
    source = ast.parse(inspect.getsource(loaded))
    bare = []
    for node in source.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            bare.append(node.name if ast.get_docstring(node) is None else "")
    assert set(bare) <= {""}


def test_base_install_pulls_nats_py_and_nothing_else() -> None:
    base = [r for r in requires("holdfast") or [] if "extra ==" not in r]
    assert [r.split(">")[0].split("<")[0] for r in base] == ["nats-py"]


def test_import_is_quick_and_small() -> None:
    """Below 150 ms of processor time; on a machine that is busy otherwise, below three times what asyncio alone takes
    in the same process. nats-py comes with the first connection."""
    script = (
        "import sys, time; began = time.process_time(); import asyncio; base = time.process_time() - began; "
        "import holdfast; took = time.process_time() - began; "
        "print(took, base, ' '.join(m for m in sys.modules if '.' not in m))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    results = [r.stdout.split() for r in runs]
    assert any(float(took) < max(0.150, 3 * float(base)) for took, base, *_ in results), [r[:2] for r in results]
    loaded = set(results[0][2:])
    allowed = set(sys.stdlib_module_names) | {"holdfast", "nats"}
    strangers = {m for m in loaded - allowed if not m.startswith(("_", "a1_", "distutils", "sitecustomize"))}
    assert strangers <= {"google"}, strangers


def test_no_any_in_what_users_pass() -> None:
    """A type checker must not be told to look away."""
    loose = []
    for owner in (holdfast.Holdfast, holdfast.Session, holdfast.sync.Holdfast, holdfast.sync.Session):
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_"):
                parameters = inspect.signature(method).parameters.values()
                loose += [f"{owner.__name__}.{name}: {p}" for p in parameters if "Any" in str(p.annotation)]
    assert loose == []


def test_py_typed_is_there() -> None:
    assert (Path(holdfast.__file__).parent / "py.typed").exists()


def test_one_file_imports_nats() -> None:
    package = Path(holdfast.__file__).parent
    importing = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            if any(name.split(".")[0] == "nats" for name in names):
                importing.add(str(file.relative_to(package)))
    assert importing == {"connection.py"}
