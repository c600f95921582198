"""The two forms of the benchmark: which systems, which cells, in which order.

Systems are interleaved within each cell: what else the machine does in that minute meets all of them.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import machine
from bench.cells import fan_out, floor, ingest, memory, producer, replay, workers
from bench.peers.base import System
from bench.placement import Placement, placements
from bench.process import BenchError
from bench.results import Results, Row

Cell = Callable[[type[System], Placement], Iterable[Row]]

SHORT_CELLS = "aceg"
LONG_CELLS = "abcdefghikw"

_HOPELESS = 0.5
_SLOW = frozenset({"fastapi+sse-starlette", "resumable-sse+redis", "durable-streams-node"})
_ONE_PLACEMENT = frozenset("efghikw")  # memory and pairs do not depend on where the broker runs


@dataclass(frozen=True, slots=True)
class Choice:
    """What one run does."""

    form: str
    systems: Sequence[type[System]]
    cells: str
    repeat: int = 1


def _cell_a(system: type[System], placement: Placement) -> Iterable[Row]:
    for viewers in (100, 1000, 5000):
        row = fan_out.cell_a(system, placement, viewers)
        yield row
        if (row.delivered_share or 0) < _HOPELESS:
            return  # five times as many viewers would only take minutes longer


def _cell_b(system: type[System], placement: Placement) -> Iterable[Row]:
    start = 100 if system.name.startswith("holdfast") else 10 if system.name in _SLOW else 40
    return fan_out.cell_b(system, placement, start)


def _cell_c(system: type[System], placement: Placement) -> Iterable[Row]:
    return fan_out.cell_c(system, placement, seconds=3.0)


def _cell_d(system: type[System], placement: Placement) -> Iterable[Row]:
    yield fan_out.cell_d(system, placement)


def _cell_e(system: type[System], placement: Placement) -> Iterable[Row]:
    yield memory.cell_e(system, placement)


def _cell_g(system: type[System], placement: Placement) -> Iterable[Row]:
    # A rate each system holds: pairs of an overloaded system compare nothing.
    return fan_out.cell_g(system, placement, 10 if system.name in _SLOW else 40)


def _cell_h(system: type[System], placement: Placement) -> Iterable[Row]:
    return producer.cell_h(system, placement)


def _cell_k(system: type[System], placement: Placement) -> Iterable[Row]:
    yield memory.churn(system, placement)


def _cell_w(system: type[System], placement: Placement) -> Iterable[Row]:
    return workers.cell_w(placement)


_CELLS: dict[str, Cell] = {
    "a": _cell_a,
    "b": _cell_b,
    "c": _cell_c,
    "d": _cell_d,
    "e": _cell_e,
    "f": replay.cell_f,
    "g": _cell_g,
    "h": _cell_h,
    "i": ingest.cell_i,
    "k": _cell_k,
    "w": _cell_w,
}


def execute(choice: Choice, after_cell: Callable[[Results], None]) -> Results:
    """Run the cells and return the rows; a system that fails in one has its reason in ``absent``.

    ``after_cell`` gets the rows so far: a long run that is interrupted has not been for nothing.
    """
    results = Results(choice.form, datetime.datetime.now(datetime.UTC).date().isoformat(), machine.facts())
    results.load_average.append(machine.load_average())
    usable = []
    for system in choice.systems:
        _progress(f"installing {system.name}")
        try:
            instance = system()
            instance.install()
            results.systems[system.name] = instance.version()
            usable.append(system)
        except BenchError as reason:
            results.absent[f"{system.name}/all"] = str(reason)
            _progress(f"  left out: {reason}")
    bare = floor.floor(placements()["together"])
    results.rows.append(bare)
    _progress(_line(bare))
    for letter in choice.cells:
        for _ in range(choice.repeat):
            for system in usable:
                _run_cell(results, letter, system)
        after_cell(results)
    results.load_average.append(machine.load_average())
    return results


def _run_cell(results: Results, letter: str, system: type[System]) -> None:
    key = f"{system.name}/{letter}"
    if letter not in system.cells:
        if letter in system.absent:
            results.absent[key] = system.absent[letter]
        return
    both = system.backed and letter not in _ONE_PLACEMENT
    for placement in placements().values():
        if placement.name == "apart" and not both:
            continue
        try:
            for row in _CELLS[letter](system, placement):
                results.rows.append(row)
                _progress(_line(row))
        except BenchError as reason:
            results.absent[f"{key}/{placement.name}"] = str(reason).splitlines()[0]
            _progress(f"{letter} {system.name} {placement.name}: {reason}")


def _line(row: Row) -> str:
    share = "-" if row.delivered_share is None else f"{row.delivered_share * 100:.2f} %"
    rate = "-" if row.events_per_second is None else f"{row.events_per_second:,.0f}/s"
    p99 = "-" if row.p99_ms is None else f"p50 {row.p50_ms:.1f} p99 {row.p99_ms:.1f} ms"
    if row.cell in "efk":
        return f"{row.cell} {row.variant:34} {row.system:22} {p99} {row.extra}"
    cpu = " ".join(f"{name} {share:.0%}" for name, share in row.cpu.items())
    return f"{row.cell} {row.variant:34} {row.system:22} {row.placement:8} {share:>9} {rate:>11} {p99} [{cpu}]"


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
