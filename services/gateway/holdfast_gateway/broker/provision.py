"""Creates and checks the streams of a namespace: one description, used by `provision`, `dev` and `serve` alike.

A stream that is not as it has to be is named field by field and left alone. `upgrade` changes what may be changed
without loss; what cannot (another contract, another partition count, delete markers) is refused for good.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.wire import Namespace
from holdfast.wire.subjects import DEFAULT_PREFIX, StreamName, incarnation_at
from holdfast_gateway.broker.jetstream.access import access
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.broker.jetstream.streams import PARTITIONS_KEY, Api, ApiError, ask, patiently
from holdfast_gateway.broker.provision_report import Outcome, Report, StreamReport
from holdfast_gateway.broker.stream_shape import (
    DUPLICATE_WINDOW_SECONDS,
    MAX_MESSAGE_BYTES,
    MIN_MAX_AGE_SECONDS,
    NANOSECONDS,
    Difference,
    compare,
    configuration,
    upgraded,
)
from holdfast_gateway.ports import SourceUnavailable

__all__ = ["Outcome", "Report", "StreamReport", "provision", "verify"]

_API_SECONDS = 10.0
_LOOK_SECONDS = 3.0
"""Looking is asked again: a request sent while there is no meta leader is never answered."""


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
        "max_age": int(max_age_seconds * NANOSECONDS),
        "max_bytes": max_bytes or -1,
        "max_msg_size": MAX_MESSAGE_BYTES,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * NANOSECONDS,
    }
    async with _Admin(servers, options, api or Api(), connect_seconds) as admin:
        there = await patiently(lambda: admin.streams(prefix), connect_seconds)
        incarnation = incarnation_at(time.time())
        reports = _strangers(there, namespace) + _neighbours(await admin.neighbours(prefix), prefix)
        for number, current in there.items():
            if isinstance(number, int) and number < partitions:
                wanted = {**configuration(namespace, number, incarnation, limits), "name": current["name"]}
                reports.append(await admin.bring(number, current, wanted, upgrade=upgrade, dry_run=dry_run))
        usable = all(r.outcome is not Outcome.INCOMPATIBLE for r in reports)
        for number in range(partitions):
            if number not in there:  # nothing new beside what cannot work together
                config = configuration(namespace, number, incarnation, limits)
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
        differences = tuple(compare(current, configuration(namespace, number, "", {})))
        reports.append(_judged(current["name"], number, differences))
    return Report(prefix, namespace.partitions, tuple(reports))


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

    async def neighbours(self, prefix: str) -> dict[int | str, dict[str, Any]]:
        """Streams of namespaces whose live or hint subjects would be this one's stored ones, or the reverse."""
        near = [f"{prefix}l", f"{prefix}c", *([prefix[:-1]] if len(prefix) > 1 and prefix[-1] in "lc" else [])]
        found: dict[int | str, dict[str, Any]] = {}
        for other in near:
            for config in (await self.streams(other)).values():
                found[str(config["name"])] = config
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
            await ask(self._link, f"$JS.API.STREAM.UPDATE.{name}", upgraded(current, wanted), _API_SECONDS)
        except ApiError as refused:
            return StreamReport(name, number, Outcome.REFUSED, differences, str(refused))
        return StreamReport(name, number, Outcome.UPGRADED, differences)


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


def _neighbours(there: Mapping[int | str, Mapping[str, Any]], prefix: str) -> list[StreamReport]:
    """A stream there would store again what another one republishes, as if producers had written it."""
    held = f"neither {prefix} followed by l or c, nor the reverse"
    reports = []
    for name, config in there.items():
        near = Difference("subjects", held, config.get("subjects"), False)
        reports.append(StreamReport(str(name), -1, Outcome.INCOMPATIBLE, (near,)))
    return reports
