"""What a run leaves behind: rows of figures, as JSON that a later run can be compared with."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1


class ResultsError(Exception):
    """A results file is not one of ours."""


@dataclass(frozen=True, slots=True)
class Row:
    """One system's figures in one cell.

    Attributes:
        cell: The cell's letter.
        variant: Which form of it, for example ``1000 viewers``.
        system: The system's name.
        placement: ``together`` (one core for all of the system) or ``apart``.
        offered: Events the producers made; None where the cell publishes nothing.
        delivered_share: Deliveries over those that were due (offered events times their viewers).
        events_per_second: Deliveries per second within the measured window.
        p50_ms: Latency from the producer's clock to the viewer's, milliseconds; in cell f from request to last event.
        p90_ms: The same at 90 %.
        p99_ms: The same at 99 %.
        p999_ms: The same at 99.9 %.
        cpu: Share of one core, by part, over the measured window.
        rss_mib: Resident memory, by part, at its end.
        extra: Figures only this cell has.
    """

    cell: str
    variant: str
    system: str
    placement: str
    offered: int | None = None
    delivered_share: float | None = None
    events_per_second: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    cpu: dict[str, float] = field(default_factory=dict)
    rss_mib: dict[str, float] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


KEPT_UP_SHARE = 0.999
KEPT_UP_MS = 100.0


def kept_up(row: Row) -> bool:
    """Return whether a system held a load: 999 events in a thousand, p99 within 100 ms, the producer never later.

    The last, because a producer within the system's own process falls behind with it, and what is made late looks
    as if it were delivered soon.
    """
    if row.delivered_share is None or row.p99_ms is None:
        return False
    late_ms = row.extra.get("producer_late_ms", 0.0)
    return row.delivered_share >= KEPT_UP_SHARE and row.p99_ms <= KEPT_UP_MS and late_ms <= KEPT_UP_MS


@dataclass(slots=True)
class Results:
    """One run of the benchmark.

    Attributes:
        form: ``short`` or ``long``.
        date: The day it ran, ISO 8601.
        machine: ``machine.facts()``.
        systems: Versions by name.
        absent: Why a system has no row in a cell, by ``system/cell``.
        load_average: One-minute load before and after.
        rows: The figures.
    """

    form: str
    date: str
    machine: dict[str, Any]
    systems: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    load_average: list[float] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Read it from JSON.

        Raises:
            ResultsError: it is of another schema, or a field is missing or unknown.
        """
        try:
            fields = json.loads(text)
            if fields.pop("schema", None) != SCHEMA:
                raise ResultsError("results of another schema")
            rows = [Row(**row) for row in fields.pop("rows")]
            return cls(**fields, rows=rows)
        except (TypeError, ValueError, KeyError, AttributeError) as wrong:
            raise ResultsError(f"not a results file: {wrong}") from wrong

    def save(self, path: Path) -> None:
        """Write it to ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json())


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Return ``ours / theirs``, or None where either is missing or theirs is zero."""
    if ours is None or theirs is None or theirs == 0:
        return None
    return ours / theirs
