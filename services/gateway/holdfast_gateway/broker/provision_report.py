"""What provisioning found and did, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast_gateway.broker.stream_shape import Difference


class Outcome(StrEnum):
    """What became of a stream."""

    CREATED = "created"
    VERIFIED = "verified"
    UPGRADED = "upgraded"
    WOULD_CREATE = "would be created"
    WOULD_UPGRADE = "would be upgraded"
    DIFFERS = "differs"
    """It could be upgraded; it was not asked for."""
    INCOMPATIBLE = "is incompatible"
    MISSING = "is missing"
    REFUSED = "was refused by the server"


_GOOD = {Outcome.CREATED, Outcome.VERIFIED, Outcome.UPGRADED, Outcome.WOULD_CREATE, Outcome.WOULD_UPGRADE}


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One partition's stream."""

    name: str
    partition: int
    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in _GOOD


@dataclass(frozen=True, slots=True)
class Report:
    """The whole namespace. `str()` is the text for people, the same from every command."""

    prefix: str
    partitions: int
    streams: tuple[StreamReport, ...]

    @property
    def ok(self) -> bool:
        return bool(self.streams) and all(s.ok for s in self.streams)

    def __str__(self) -> str:
        lines = []
        for stream in self.streams:
            lines.append(f"{stream.name}: {stream.outcome}" + (f": {stream.detail}" if stream.detail else ""))
            lines.extend(f"  {difference}" for difference in stream.differences)
        if any(s.outcome is Outcome.DIFFERS for s in self.streams):
            lines.append("`holdfast-gateway provision --upgrade` changes what differs; add --dry-run to see it first.")
        if any(s.outcome is Outcome.INCOMPATIBLE for s in self.streams):
            lines.append("An incompatible stream is left as it is: use another prefix, or move it out of the way.")
        if any(s.outcome is Outcome.MISSING for s in self.streams):
            lines.append("`holdfast-gateway provision` creates what is missing.")
        return "\n".join(lines)
