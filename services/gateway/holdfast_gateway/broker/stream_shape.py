"""What a stream of ours has to be, field by field, and how another one differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast.wire import Namespace
from holdfast.wire.limits import CONTRACT_VERSION, DEFAULT_LEASE_SECONDS, MAX_EVENT_BYTES
from holdfast_gateway.broker.jetstream.streams import CONTRACT_KEY, PARTITIONS_KEY

MIN_MAX_AGE_SECONDS = 10 * DEFAULT_LEASE_SECONDS
"""A run's `alive` records keep its tail from expiring; below this the log could lose a living run."""

MAX_MESSAGE_BYTES = MAX_EVENT_BYTES + 64 * 1024
DUPLICATE_WINDOW_SECONDS = 2
"""Appends are made once by expected sequence; every remembered `Nats-Msg-Id` would cost 230 bytes of memory."""

NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as it has to be. `changeable`: an upgrade mends it."""

    field: str
    wanted: object
    actual: object
    changeable: bool
    reason: str = ""

    def __str__(self) -> str:
        text = f"{self.field}: is {_shown(self.actual)}, has to be {_shown(self.wanted)}"
        return f"{text} ({self.reason})" if self.reason else text


_FIXED: Mapping[str, tuple[object, str]] = {
    "retention": ("limits", "anything else drops messages without consumers"),
    "storage": ("file", "the log has to survive a restart"),
    "discard": ("old", "new messages must not be refused"),
    "no_ack": (False, "appends are settled by their acknowledgement"),
    "sealed": (False, "nothing could be appended"),
    "mirror": (None, "producers could not write"),
    "sources": (None, "foreign messages would break the chain of sequences"),
    "subject_transform": (None, "subjects are the session's name"),
    "allow_msg_ttl": (False, "single messages would vanish from the middle of an answer"),
    "subject_delete_marker_ttl": (0, "a delete marker becomes the last message and blocks every append"),
    "allow_rollup_hdrs": (False, "any producer could wipe a session"),
    "allow_msg_counter": (False, "the server would rewrite bodies"),
    "allow_msg_schedules": (False, "messages would come late and out of order"),
    "allow_atomic": (False, "batches stand aside from the order of appends"),
    "allow_batched": (False, "it acknowledges in bulk and cannot be fenced"),
    "persist_mode": ("", "an acknowledgement has to mean stored"),
    "max_msgs_per_subject": (-1, "an answer would lose its beginning"),
    "max_msgs": (-1, "limit bytes or age, not counts"),
    "discard_new_per_subject": (False, "new messages must not be refused"),
}
_FIXED_CHANGEABLE = {
    "discard",
    "no_ack",
    "max_msgs_per_subject",
    "max_msgs",
    "discard_new_per_subject",
    "allow_rollup_hdrs",
    "subject_transform",
    "allow_atomic",
    "allow_batched",
}
_SAME: Mapping[str, set[object]] = {
    "persist_mode": {"", "default"},
    "max_msgs_per_subject": {-1, 0},
    "max_msgs": {-1, 0},
}


def configuration(namespace: Namespace, number: int, incarnation: str, limits: Mapping[str, object]) -> dict[str, Any]:
    """The configuration as the server takes it. Without `limits`: only what the contract says."""
    return {
        "name": namespace.stream_name(number, incarnation) if incarnation else "",
        "subjects": [namespace.stored_filter(number)],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "allow_direct": True,
        "deny_delete": True,
        "republish": {"src": namespace.stored_filter(number), "dest": namespace.live_template(number)},
        "metadata": {CONTRACT_KEY: str(CONTRACT_VERSION), PARTITIONS_KEY: str(namespace.partitions)},
        **limits,
    }


def compare(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Difference]:
    """Field by field, what of a stream's configuration is not as it has to be."""
    found: list[Difference] = []

    def check(field: str, want: object, is_: object, changeable: bool, reason: str = "") -> None:
        if want != is_:
            found.append(Difference(field, want, is_, changeable, reason))

    metadata = current.get("metadata") or {}
    for key, value in wanted["metadata"].items():
        reason = "growth is a second namespace" if key == PARTITIONS_KEY else "another contract version"
        check(f"metadata.{key}", value, metadata.get(key), False, reason)
    check("subjects", wanted["subjects"], current.get("subjects"), False)
    for field, (value, reason) in _FIXED.items():
        is_ = current.get(field)
        if is_ in _SAME.get(field, ()) or (not is_ and not value):
            continue
        check(field, value, is_, field in _FIXED_CHANGEABLE, reason)
    check("allow_direct", True, bool(current.get("allow_direct")), True, "replay reads it")
    check("deny_delete", True, bool(current.get("deny_delete")), True, "holes in the middle cannot be told from loss")
    republish = current.get("republish") or {}
    for part in ("src", "dest"):
        check(f"republish.{part}", wanted["republish"][part], republish.get(part), True, "live delivery hears it")
    check("republish.headers_only", False, bool(republish.get("headers_only")), True, "live delivery needs the bodies")
    for field in ("num_replicas", "max_age", "max_bytes", "max_msg_size", "duplicate_window"):
        if field in wanted:
            check(field, wanted[field], current.get(field), True)
    age = int(current.get("max_age") or 0)
    if "max_age" not in wanted and 0 < age < MIN_MAX_AGE_SECONDS * NANOSECONDS:
        least = int(MIN_MAX_AGE_SECONDS * NANOSECONDS)
        found.append(Difference("max_age", least, age, True, "at least ten leases: a living run could expire"))
    return found


def upgraded(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The current configuration with what has to be different; what an operator added beside it stays."""
    changed = {**current, **wanted}
    for field in _FIXED_CHANGEABLE:
        if field in current:
            changed[field] = _FIXED[field][0]
    changed["metadata"] = {**(current.get("metadata") or {}), **wanted["metadata"]}
    return changed


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value) if isinstance(value, str) else str(value)
