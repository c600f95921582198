"""Metrics, each named once. The rest of the gateway sees an interface of three verbs; the default does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name (without the `holdfast_` in front), help and label names."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"holdfast_{self.name}"


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"{name}_total", MetricKind.COUNTER, help, labels)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, help, labels)


class Meter(Protocol):
    """Where numbers go. Calls are cheap and never fail."""

    def count(self, metric: Metric, amount: float = 1.0, labels: tuple[str, ...] = ()) -> None:
        """Add to a counter."""

    def set(self, metric: Metric, value: float, labels: tuple[str, ...] = ()) -> None:
        """Set a gauge."""


class Silent:
    """Counts nothing."""

    def count(self, metric: Metric, amount: float = 1.0, labels: tuple[str, ...] = ()) -> None:
        pass

    def set(self, metric: Metric, value: float, labels: tuple[str, ...] = ()) -> None:
        pass


# The web side's own.
ATTACHES: Final = _counter("attaches", "Streams asked for, by outcome.", "outcome")
PROBLEMS: Final = _counter("problems", "Requests answered with a problem, by its slug.", "problem")
CANCELS: Final = _counter("cancels", "Cancels asked for, by outcome.", "outcome")
BUILD: Final = _gauge("build_info", "Always 1; the version is the label.", "version")
READY: Final = _gauge("ready", "1 while the broker answers and the gateway is not draining.")

# What the hub counts by itself.
VIEWERS: Final = _gauge("viewers", "Viewers now.")
SESSIONS: Final = _gauge("sessions", "Sessions with a feed now.")
RING_BYTES: Final = _gauge("ring_bytes", "Log kept in memory now, all sessions together.")
ATTACHED: Final = _counter("viewers_attached", "Viewers admitted.")
CLOSED: Final = _counter("viewers_closed", "Viewers closed, by reason.", "reason")
GAPS: Final = _counter("gaps", "`session.gap` told to viewers, by reason.", "reason")
RECORDS: Final = _counter("records", "Records read from live feeds and replays.")
VOID_RECORDS: Final = _counter("records_void", "Records without a meaning where they stood.")
UNKNOWN_KINDS: Final = _counter("records_unknown_kind", "Records of a kind this version does not know.")
MALFORMED: Final = _counter("records_malformed", "Records whose headers and body did not belong together.")
WRITES: Final = _counter("writes", "Writes to viewers, each with everything new for one.")
WRITTEN_BYTES: Final = _counter("written_bytes", "Bytes written to viewers.")
SKIPS: Final = _counter("skips", "Times a viewer was passed over because its buffer was full.")
REPLAY_PAGES: Final = _counter("replay_pages", "Pages read from the broker for viewers behind the ring.")
LOST_STORED: Final = _counter("producers_lost", "`lost` records this process stored.")
FAILED_STORED: Final = _counter("runs_failed", "Runs this process closed, by reason.", "reason")
TROUBLES: Final = _counter("feed_troubles", "Reconnects and failed requests under live feeds.")
FEEDS_GONE: Final = _counter("feeds_gone", "Feeds whose stream was replaced.")
FAILURES: Final = _counter("failures", "Background work that failed in a way nobody foresaw.")
