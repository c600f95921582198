"""Outcomes as JSON, so that a long series can be run in parts and told as one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.faults.cluster import nats_server
from bench.faults.run import Outcome

PACKAGES = ("holdfast", "nats-py", "uvicorn", "uvloop", "fastapi", "sse-starlette")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One run as plain values."""
    verdict = outcome.verdict
    return {
        "fault": outcome.fault,
        "run": outcome.run,
        "seed": outcome.seed,
        "seconds": round(outcome.seconds, 1),
        "viewers": verdict.viewers,
        "events": verdict.events,
        "deliveries": verdict.deliveries,
        "counts": verdict.counts,
        "findings": [f"{f.kind}: {f.session} {f.viewer}: {f.detail}" for f in verdict.findings[:20]],
        "stalls_seconds": [round(stall, 3) for stall in verdict.stalls.longest],
        "after_ack_seconds": [round(stall, 3) for stall in verdict.stalls.after_ack],
        "election_seconds": round(outcome.election_seconds, 2),
        "done": outcome.done,
    }


def save(path: Path, outcomes: list[dict[str, Any]]) -> None:
    """Write a series with the facts of the machine it ran on."""
    lines = ",\n".join(json.dumps(outcome) for outcome in outcomes)
    path.write_text(f'{{"machine": {json.dumps(machine())},\n"outcomes": [\n{lines}\n]}}\n')


def machine() -> dict[str, str]:
    """CPU, cores, memory, kernel and versions; nothing that names the machine or a place on it."""
    nats_version = subprocess.run([nats_server(), "--version"], capture_output=True, text=True, check=True)
    facts = {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "nats-server": nats_version.stdout.split(":")[-1].strip(),
    }
    return facts | {name: _version(name) for name in PACKAGES}


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
