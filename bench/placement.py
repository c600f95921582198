"""Which part runs on which core."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Cores of one run.

    Attributes:
        name: ``together`` or ``apart``.
        system: The process that serves viewers.
        backing: The process behind it (broker, Redis), where a system has one.
        load: The load client and the publisher.
    """

    name: str
    system: frozenset[int]
    backing: frozenset[int]
    load: frozenset[int]


def placements(available: frozenset[int] | None = None) -> dict[str, Placement]:
    """Return both placements for the cores this process may use.

    On two cores "apart" puts the backing process beside the load; from three cores on it has its own.

    Raises:
        ValueError: there are fewer than two cores: the load client must not share the system's.
    """
    cores = sorted(available if available is not None else os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ValueError("the benchmark needs two cores: one for the system, one for the load")
    system = frozenset(cores[:1])
    backing = frozenset(cores[1:2])
    load = frozenset(cores[2:]) or backing
    return {
        "together": Placement("together", system, system, frozenset(cores[1:])),
        "apart": Placement("apart", system, backing, load),
    }
