"""What the runtime counts. Plain integers that only grow, read by whoever exports them; no metrics library here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Since the process began. The keys of the `Counter`s are the public vocabularies (reasons, outcomes)."""

    attached: int = 0
    nothing_left: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    """Viewers by close reason."""
    gaps: Counter[str] = field(default_factory=Counter)
    """`session.gap` told, by reason."""
    records: int = 0
    """Records folded from feeds."""
    void_records: int = 0
    """Of those, the ones without a meaning where they stood."""
    unknown_kinds: int = 0
    malformed: int = 0
    writes: int = 0
    """Writes to viewers, each with everything new since the viewer's cursor."""
    written_bytes: int = 0
    skips: int = 0
    """Viewers passed over because their buffer was full."""
    replay_pages: int = 0
    """Pages read from the broker for viewers that stood before the ring."""
    lost_stored: int = 0
    failed_stored: Counter[str] = field(default_factory=Counter)
    """Runs this pod closed, by reason."""
    cancels: Counter[str] = field(default_factory=Counter)
    troubles: int = 0
    feeds_gone: int = 0
    failures: int = 0
    """Background work that ended in an error that nobody foresaw: a bug of ours."""
