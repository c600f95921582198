"""Creates and checks the streams of a namespace: one description, used by `provision`, `dev` and `serve` alike.

A stream that is not as it has to be is named field by field and left alone. `upgrade` changes what may be changed
without loss; what cannot (another contract, another partition count, delete markers) is refused for good.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from holdfast.wire import Namespace
from holdfast.wire.limits import CONTRACT_VERSION, DEFAULT_LEASE_SECONDS, MAX_EVENT_BYTES
from holdfast.wire.subjects import DEFAULT_PREFIX, StreamName, incarnation_at
from holdfast_gateway.broker.jetstream.link import Link, access
from holdfast_gateway.broker.jetstream.streams import CONTRACT_KEY, PARTITIONS_KEY, Api, ApiError, ask, patiently
from holdfast_gateway.ports import SourceUnavailable

MIN_MAX_AGE_SECONDS = 10 * DEFAULT_LEASE_SECONDS
"""A run's `alive` records keep its tail from expiring; below this the log could lose a living run."""

MAX_MESSAGE_BYTES = MAX_EVENT_BYTES + 64 * 1024
DUPLICATE_WINDOW_SECONDS = 2
"""Appends are made once by expected sequence; every remembered `Nats-Msg-Id` would cost 230 bytes of memory."""

_NS = 1_000_000_000
_API_SECONDS = 10.0
_LOOK_SECONDS = 3.0
"""Looking is asked again: a request sent while there is no meta leader is never answered."""


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


async def provision(
    servers: Sequence[str],
    partitions: int = 1,
    replicas: int = 1,
    max_age_seconds: float = 86_400.0,
    max_bytes: int = 8 * 1024**3,
    upgrade: bool = False,
    dry_run: bool = False,
    *,
    prefix: str = DEFAULT_PREFIX,
    connect_seconds: float = 10.0,
    options: Mapping[str, Any] | None = None,
    api: Api | None = None,
) -> Report:
    """Create what is missing, verify what is there, and, if asked, upgrade what differs. Idempotent.

    `max_bytes` is per stream; 0 means no bound. `dry_run` changes nothing and says what would be done.

    Raises:
        SourceUnavailable: no server was reached, or it did not answer.
        ValueError: a value that no stream of ours may have.
    """
    if max_age_seconds and max_age_seconds < MIN_MAX_AGE_SECONDS:
        raise ValueError(
            f"max age must be at least {MIN_MAX_AGE_SECONDS:g} s (ten leases), not {max_age_seconds:g}: "
            "a living run could expire"
        )
    namespace = Namespace(partitions, prefix)
    limits = {
        "num_replicas": replicas,
        "max_age": int(max_age_seconds * _NS),
        "max_bytes": max_bytes or -1,
        "max_msg_size": MAX_MESSAGE_BYTES,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * _NS,
    }
    async with _Admin(servers, options, api or Api(), connect_seconds) as admin:
        there = await patiently(lambda: admin.streams(prefix), connect_seconds)
        incarnation = incarnation_at(time.time())
        reports = _strangers(there, namespace)
        for number, current in there.items():
            if isinstance(number, int) and number < partitions:
                wanted = {**_config(namespace, number, incarnation, limits), "name": current["name"]}
                reports.append(await admin.bring(number, current, wanted, upgrade=upgrade, dry_run=dry_run))
        usable = all(r.outcome is not Outcome.INCOMPATIBLE for r in reports)
        for number in range(partitions):
            if number not in there:  # nothing new beside what cannot work together
                config = _config(namespace, number, incarnation, limits)
                missing = StreamReport(config["name"], number, Outcome.MISSING)
                reports.append(await admin.create(number, config, dry_run=dry_run) if usable else missing)
    return Report(prefix, partitions, tuple(sorted(reports, key=lambda r: r.partition)))


async def verify(
    servers: Sequence[str],
    *,
    prefix: str = DEFAULT_PREFIX,
    connect_seconds: float = 10.0,
    options: Mapping[str, Any] | None = None,
    api: Api | None = None,
) -> Report:
    """Check that the streams are ones this program can serve. Limits are the operator's; only bounds are checked.

    Raises `SourceUnavailable`: no server was reached, or it did not answer.
    """
    async with _Admin(servers, options, api or Api(), connect_seconds) as admin:
        there = await patiently(lambda: admin.streams(prefix), connect_seconds)
    partitions = max((_partitions_of(c) for n, c in there.items() if isinstance(n, int)), default=0) or 1
    namespace = Namespace(min(partitions, 1024), prefix)
    reports = _strangers(there, namespace)
    for number in range(namespace.partitions):
        current = there.get(number)
        if current is None:
            name = namespace.stream_name(number, "<new>")
            reports.append(StreamReport(name, number, Outcome.MISSING))
            continue
        differences = tuple(compare(current, _config(namespace, number, "", {})))
        reports.append(_judged(current["name"], number, differences))
    return Report(prefix, namespace.partitions, tuple(reports))


# ---------------------------------------------------------------------------------------------- what it has to be

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
    "max_consumers": (-1, ""),
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
_FREE = {"max_consumers"}


def _config(namespace: Namespace, number: int, incarnation: str, limits: Mapping[str, object]) -> dict[str, Any]:
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
        if field in _FREE or is_ in _SAME.get(field, ()) or (not is_ and not value):
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
    if "max_age" not in wanted and 0 < age < MIN_MAX_AGE_SECONDS * _NS:
        least = int(MIN_MAX_AGE_SECONDS * _NS)
        found.append(Difference("max_age", least, age, True, "at least ten leases: a living run could expire"))
    return found


# ---------------------------------------------------------------------------------------------- doing it


class _Admin:
    """A connection with the requests that administer streams."""

    def __init__(
        self, servers: Sequence[str], options: Mapping[str, Any] | None, api: Api, connect_seconds: float
    ) -> None:
        self._link = Link(access(servers, options or {}), "holdfast-provision")
        self._api = api
        self._connect_seconds = connect_seconds

    async def __aenter__(self) -> _Admin:
        try:
            await self._link.connect(self._connect_seconds)
        except BaseException:
            await self._link.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()

    async def streams(self, prefix: str) -> dict[int | str, dict[str, Any]]:
        """Configurations of all streams that hold subjects of this prefix: ours by partition, others by name."""
        found: dict[int | str, dict[str, Any]] = {}
        offset = 0
        while True:
            try:
                answer = await ask(
                    self._link, self._api.stream_names, {"offset": offset, "subject": f"{prefix}.>"}, _LOOK_SECONDS
                )
                names = answer.get("streams") or []
                for name in names:
                    info = await ask(self._link, f"{self._api.stream_info}.{name}", {}, _LOOK_SECONDS)
                    parsed = StreamName.parse(name)
                    ours = parsed is not None and parsed.prefix == prefix and parsed.partition not in found
                    found[parsed.partition if ours and parsed is not None else name] = info["config"]
            except ApiError as refused:
                raise SourceUnavailable(f"cannot look at the streams: {refused}") from None
            offset += len(names)
            if not names or offset >= int(answer.get("total", 0)):
                return found

    async def create(self, number: int, config: dict[str, Any], *, dry_run: bool) -> StreamReport:
        name = config["name"]
        if dry_run:
            return StreamReport(name, number, Outcome.WOULD_CREATE)
        try:
            await ask(self._link, f"$JS.API.STREAM.CREATE.{name}", config, _API_SECONDS)
        except ApiError as refused:
            return StreamReport(name, number, Outcome.REFUSED, detail=str(refused))
        return StreamReport(name, number, Outcome.CREATED)

    async def bring(
        self, number: int, current: dict[str, Any], wanted: dict[str, Any], *, upgrade: bool, dry_run: bool
    ) -> StreamReport:
        name = current["name"]
        differences = tuple(compare(current, wanted))
        judged = _judged(name, number, differences)
        if judged.outcome is not Outcome.DIFFERS or not upgrade:
            return judged
        if dry_run:
            return StreamReport(name, number, Outcome.WOULD_UPGRADE, differences)
        try:
            await ask(self._link, f"$JS.API.STREAM.UPDATE.{name}", _upgraded(current, wanted), _API_SECONDS)
        except ApiError as refused:
            return StreamReport(name, number, Outcome.REFUSED, differences, str(refused))
        return StreamReport(name, number, Outcome.UPGRADED, differences)


def _upgraded(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The current configuration with what has to be different; what an operator added beside it stays."""
    changed = {**current, **wanted}
    for field in _FIXED_CHANGEABLE:
        if field in current:
            changed[field] = _FIXED[field][0]
    changed["metadata"] = {**(current.get("metadata") or {}), **wanted["metadata"]}
    return changed


def _judged(name: str, number: int, differences: tuple[Difference, ...]) -> StreamReport:
    if not differences:
        return StreamReport(name, number, Outcome.VERIFIED)
    hard = any(not d.changeable for d in differences)
    return StreamReport(name, number, Outcome.INCOMPATIBLE if hard else Outcome.DIFFERS, differences)


def _strangers(there: Mapping[int | str, Mapping[str, Any]], namespace: Namespace) -> list[StreamReport]:
    """Streams that hold subjects of the namespace and are none of its partitions."""
    reports = []
    for key, config in there.items():
        if isinstance(key, str):
            held = Difference("subjects", "none of this prefix", config.get("subjects"), False)
            reports.append(StreamReport(key, -1, Outcome.INCOMPATIBLE, (held,)))
        elif key >= namespace.partitions:
            many = Difference(
                f"metadata.{PARTITIONS_KEY}",
                str(namespace.partitions),
                (config.get("metadata") or {}).get(PARTITIONS_KEY),
                False,
                "growth is a second namespace",
            )
            reports.append(StreamReport(str(config["name"]), key, Outcome.INCOMPATIBLE, (many,)))
    return reports


def _partitions_of(config: Mapping[str, Any]) -> int:
    value = str((config.get("metadata") or {}).get(PARTITIONS_KEY, ""))
    return int(value) if value.isdigit() else 0


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value) if isinstance(value, str) else str(value)
