"""``python -m bench.faults.checker DIRECTORY``: judge kept records again. Exit status 1 when anything is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.faults.checker.judge import judge_directory

verdict = judge_directory(Path(sys.argv[1]))
print(f"viewers={verdict.viewers} events={verdict.events} deliveries={verdict.deliveries}")
print(verdict.text(200))
sys.exit(bool(verdict.findings))
