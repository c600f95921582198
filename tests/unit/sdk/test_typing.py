"""The public types, as mypy infers them for a user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_assert_type_cases() -> None:
    """`assert_type` fails on a type that is not exactly the one promised; an unneeded ignore fails too."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "tests/unit/sdk/typing_cases.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
