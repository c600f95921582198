"""Results as one SVG picture: bars by cell and system, no library."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from bench.report import TITLES, most
from bench.results import Results, Row

_WIDTH, _LABEL, _BAR, _GAP = 1000, 400, 14, 5
_COLOURS = ("#0b6e4f", "#c8553d", "#5b7db1", "#8f6bb3", "#d4a017", "#6b705c", "#3d405b", "#b5838d")
_TEXT = 'font-family="system-ui, sans-serif" font-size="12"'

Bar = tuple[str, str, float]  # label, system, value


def picture(results: Results) -> str:
    """Return the SVG: p99 on a logarithmic axis, throughput and memory on linear ones."""
    names = list(results.systems)
    y = 40
    body: list[str] = []
    for title, unit, bars, logarithmic in _charts(results):
        body.append(f'<text x="10" y="{y}" {_TEXT} font-weight="bold">{escape(title)}</text>')
        y += 10
        top = max(value for _, _, value in bars)
        for label, system, value in bars:
            colour = _COLOURS[names.index(system) % len(_COLOURS)] if system in names else "#888"
            length = _length(value, top, logarithmic) * (_WIDTH - _LABEL - 110)
            body.append(f'<text x="{_LABEL - 6}" y="{y + 11}" text-anchor="end" {_TEXT}>{escape(label)}</text>')
            body.append(f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>')
            body.append(f'<text x="{_LABEL + length + 5:.1f}" y="{y + 11}" {_TEXT}>{_figure(value)} {unit}</text>')
            y += _BAR + _GAP
        y += 28
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}">'
    caption = f"{results.machine['cpu']}, {results.machine['cores']} cores, {results.date}"
    back = f'<rect width="{_WIDTH}" height="{y}" fill="white"/><text x="10" y="18" {_TEXT}>{escape(caption)}</text>'
    return "\n".join([head, back, *body, "</svg>"]) + "\n"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _length(value: float, top: float, logarithmic: bool) -> float:
    if not logarithmic:
        return value / top if top else 0.0
    low = 0.1  # a tenth of a millisecond is the left edge
    return max(0.01, math.log(max(value, low) / low) / math.log(max(top, 2 * low) / low))


def _charts(results: Results) -> Iterator[tuple[str, str, list[Bar], bool]]:
    for cell in "acdf":
        rows = [row for row in results.rows if row.cell == cell and row.p99_ms is not None]
        if cell == "c":
            rows = [row for row in rows if "20 ev/s" in row.variant]
        if rows:
            yield f"{TITLES[cell]}: p99, logarithmic", "ms", [_bar(row, row.p99_ms or 0) for row in rows], True
    for cell in "bc":
        best = most(results.rows, cell)
        if best:
            bars = [(f"{system}, {placement}", system, rate) for (system, placement), rate in best.items()]
            yield f"{TITLES[cell]}: most deliveries seen", "/s", bars, False
    idle = [row for row in results.rows if row.cell == "e"]
    if idle:
        yield f"{TITLES['e']}: memory", "KiB a viewer", [_bar(r, r.extra["kib_per_viewer"]) for r in idle], False


def _bar(row: Row, value: float) -> Bar:
    lost = "" if row.delivered_share is None or row.delivered_share >= 0.999 else f", {row.delivered_share:.0%}"
    return f"{row.system}, {row.placement}, {row.variant}{lost}", row.system, value
