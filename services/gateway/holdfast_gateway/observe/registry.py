"""Counts, and writes what it counted in the Prometheus text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from holdfast_gateway.observe.metrics import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Metric, float, tuple[str, ...]]
"""A metric, its value, and its labels' values in the metric's order."""


class Registry:
    """A `Meter` that keeps what it is told. Used from one event loop only.

    Its size is bounded by the labels' values, which all come from fixed sets (slugs, states, status codes) and never
    from requests.
    """

    def __init__(self) -> None:
        self._values: dict[Metric, dict[tuple[str, ...], float]] = {}
        self._sources: list[Callable[[], Iterable[Sample]]] = []

    def count(self, metric: Metric, amount: float = 1.0, labels: tuple[str, ...] = ()) -> None:
        values = self._values.setdefault(metric, {})
        values[labels] = values.get(labels, 0.0) + amount

    def set(self, metric: Metric, value: float, labels: tuple[str, ...] = ()) -> None:
        self._values.setdefault(metric, {})[labels] = value

    def collect(self, source: Callable[[], Iterable[Sample]]) -> None:
        """Ask this source at every exposition: for numbers that somebody keeps anyway."""
        self._sources.append(source)

    def exposition(self) -> str:
        """Everything counted so far, sorted by name."""
        found: dict[Metric, dict[tuple[str, ...], float]] = {m: dict(v) for m, v in self._values.items()}
        for source in self._sources:
            for metric, value, labels in source():
                found.setdefault(metric, {})[labels] = value
        lines: list[str] = []
        for metric in sorted(found, key=lambda m: m.full_name):
            lines.append(f"# HELP {metric.full_name} {metric.help}")
            lines.append(f"# TYPE {metric.full_name} {metric.kind.value}")
            for labels, value in sorted(found[metric].items()):
                lines.append(f"{metric.full_name}{_labels(metric, labels)} {_number(value)}")
        return "\n".join(lines) + "\n"


def _labels(metric: Metric, values: tuple[str, ...]) -> str:
    if not metric.labels:
        return ""
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(metric.labels, values, strict=True)]
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
