"""What viewers are told beside the data: the `session.*` events and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast.wire.record import Kind

START: Final = "session.start"
END: Final = "session.end"
FAILED: Final = "session.failed"
CANCELLED: Final = "session.cancelled"
RESET: Final = "session.reset"
GAP: Final = "session.gap"
PRODUCER: Final = "session.producer"
SNAPSHOT: Final = "session.snapshot"


@dataclass(frozen=True, slots=True)
class Control:
    """Something viewers are told beside the data. `counted` ones are places in the log and carry an id."""

    event: str
    data: Mapping[str, Any]
    counted: bool = True


def started(run: int, name: str | None) -> Control:
    return Control(START, {"run": run} if name is None else {"run": run, "name": name})


def superseded(run: int) -> Control:
    """The end of a run that never ended by itself: the next one began."""
    return Control(FAILED, {"run": run, "reason": "superseded"})


def reset(run: int) -> Control:
    return Control(RESET, {"run": run})


def lost(run: int) -> Control:
    return Control(PRODUCER, {"run": run, "state": "lost"}, counted=False)


def back(run: int) -> Control:
    return Control(PRODUCER, {"run": run, "state": "back"}, counted=False)


def trimmed(earliest: int) -> Control:
    return Control(GAP, {"reason": "trimmed", "requested": None, "earliest": earliest}, counted=False)


def terminal(kind: Kind | None, run: int, payload: Mapping[str, Any]) -> Control:
    """The last event of a run that `kind` closed. Only what the contract names is taken from the payload."""
    told: dict[str, Any] = {"run": run}
    if kind is Kind.END:
        if "result" in payload:
            told["result"] = payload["result"]
        return Control(END, told)
    if kind is Kind.ERASED:
        return Control(FAILED, {**told, "reason": "erased"})
    reason, message = payload.get("reason"), payload.get("message")
    if kind is Kind.CANCELLED:
        return Control(CANCELLED, {**told, "reason": reason} if isinstance(reason, str) else told)
    told["reason"] = reason if isinstance(reason, str) else "failed"
    if isinstance(message, str):
        told["message"] = message
    return Control(FAILED, told)
