"""The gap that the fold tells where a log's beginning is trimmed: whom it is for.

G1. It is for viewers who want the beginning. One that stands behind a place from which nothing is missing has it, and
    one whose cursor is trimmed has been told: to them the log's own gap would be a loss that never was.
G2. Viewers know places as cursors, the fold as sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.wire import Control
from holdfast.wire.run import GAP, Output


def opens_with_gap(outputs: Sequence[Output]) -> bool:
    """Whether the fold says first that the run's beginning is missing."""
    first = outputs[0] if outputs else None
    return isinstance(first, Control) and first.event == GAP


def with_cursors(incarnation: str, control: Control) -> Mapping[str, Any]:
    """A control event's data as viewers get it (G2)."""
    if control.event != GAP:
        return control.data
    return {**control.data, "earliest": f"{incarnation}-{control.data['earliest']}", "latest": None}
