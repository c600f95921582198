"""The figures of `docs/performance.md`, made from a results file: one table, a system a line."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from pathlib import Path

from bench.report import most, peak
from bench.results import Results, Row

_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"

Column = tuple[str, Callable[[Results, str, str], str]]


def table(results: Results) -> str:
    """Return the table: a line for each system and placement that has rows, `-` where a cell has none for it."""
    lines = [
        "| " + " | ".join(["system", "placement", *(title for title, _ in _COLUMNS)]) + " |",
        "|---|---|" + "---:|" * len(_COLUMNS),
    ]
    for system in results.systems:
        for placement in ("together", "apart"):
            cells = [make(results, system, placement) for _, make in _COLUMNS]
            if any(cell != "-" for cell in cells):
                lines.append("| " + " | ".join([system, placement, *cells]) + " |")
    return "\n".join(lines)


def update(page: Path, results: Results, name: str) -> None:
    """Put the table between the page's two marks.

    Raises:
        ValueError: the page has no such marks.
    """
    facts = results.machine
    text = page.read_text()
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"{page.name} has no place for the figures")
    busy = " to ".join(map(str, results.load_average))
    source = (
        f"`bench/results/{name}.json`, {results.date}: {facts['cpu']}, {facts['cores']} cores, "
        f"Linux {facts['kernel']}, Python {facts['python']}, load average {busy}."
    )
    block = f"{_BEGIN}\n\n{source}\n\n{table(results)}\n\n{_END}"
    page.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: block, text, flags=re.DOTALL))


def _rows(results: Results, cell: str, system: str, placement: str, variant: str = "") -> list[Row]:
    return [
        row
        for row in results.rows
        if (row.cell, row.system, row.placement) == (cell, system, placement) and row.variant.startswith(variant)
    ]


def _latency(cell: str, variant: str) -> Callable[[Results, str, str], str]:
    def make(results: Results, system: str, placement: str) -> str:
        rows = [r for r in _rows(results, cell, system, placement, variant) if r.p99_ms is not None]
        if not rows:
            return "-"
        row = sorted(rows, key=lambda r: r.p99_ms or 0.0)[(len(rows) - 1) // 2]  # of repeated runs the median
        share = 1.0 if row.delivered_share is None else row.delivered_share
        lost = f" ({share:.0%})" if share < 0.999 else ""
        return f"{row.p50_ms:,.1f} / {row.p99_ms:,.1f}{lost}"

    return make


def _peak(cell: str) -> Callable[[Results, str, str], str]:
    def make(results: Results, system: str, placement: str) -> str:
        held = peak(results.rows).get((cell, system, placement))
        seen = most(results.rows, cell).get((system, placement))
        if seen is None:
            return "-"
        return f"{held / 1000:,.1f}" if held is not None else f"none (most seen {seen / 1000:,.1f})"

    return make


def _idle(results: Results, system: str, placement: str) -> str:
    rows = _rows(results, "e", system, placement)
    return f"{rows[0].extra['kib_per_viewer']:.1f}" if rows else "-"


def _stalled(results: Results, system: str, placement: str) -> str:
    rows = [row for row in _rows(results, "g", system, placement) if row.p99_ms is not None]
    without = [row.p99_ms or 0.0 for row in rows if "none stalled" in row.variant]
    beside = [row.p99_ms or 0.0 for row in rows if "one stalled" in row.variant]
    if not without or not beside:
        return "-"
    return f"{statistics.median(without):,.1f} / {statistics.median(beside):,.1f}"


_COLUMNS: tuple[Column, ...] = (
    ("a: 1,000 viewers, p50 / p99 ms", _latency("a", "1000 viewers")),
    ("a: 5,000 viewers", _latency("a", "5000 viewers")),
    ("b: kept up, k deliveries/s", _peak("b")),
    ("c: 20 ev/s each, p50 / p99 ms", _latency("c", "1000 sessions, 20 ev/s")),
    ("c: kept up, k ev/s", _peak("c")),
    ("d: p50 / p99 ms", _latency("d", "")),
    ("e: KiB a viewer", _idle),
    ("f: cold, p50 / p99 ms", _latency("f", "alone, cold")),
    ("f: 1,000 at once, ms", _latency("f", "1000 at once")),
    ("g: median p99 without / with a stalled one, ms", _stalled),
)
