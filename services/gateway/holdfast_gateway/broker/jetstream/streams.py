"""The streams of a namespace: found by name, checked by metadata, watched for another incarnation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.wire import Namespace, StreamName
from holdfast.wire.limits import CONTRACT_VERSION
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.ports import SourceUnavailable

CONTRACT_KEY = "holdfast_contract"
PARTITIONS_KEY = "holdfast_partitions"

_T = TypeVar("_T")

STREAM_NOT_FOUND = 10059
MESSAGE_NOT_FOUND = 10037


@dataclass(frozen=True, slots=True)
class Api:
    """Subjects of the JetStream API. Another account imports some under another name: under their own, MSG.GET and INFO
    answer 10039 there."""

    direct_get: str = "$JS.API.DIRECT.GET"
    message_get: str = "$JS.API.STREAM.MSG.GET"
    stream_info: str = "$JS.API.STREAM.INFO"
    stream_names: str = "$JS.API.STREAM.NAMES"


class ApiError(Exception):
    """The JetStream API refused a request."""

    def __init__(self, code: int, description: str) -> None:
        self.code = code
        super().__init__(f"{description} ({code})")


class NotServable(SourceUnavailable):
    """The cluster has answered, and what it has cannot be served: only an operator can change that."""


class Incomplete(NotServable):
    """Streams are missing. `names`: what the cluster has of ours, by partition."""

    def __init__(self, names: Mapping[int, str], text: str) -> None:
        self.names = names
        super().__init__(text)


PAUSE_SECONDS = 0.25


async def patiently(
    attempt: Callable[[], Awaitable[_T]], patience_seconds: float, pause_seconds: float = PAUSE_SECONDS
) -> _T:
    """What the attempt gives, tried again for as long as nobody answers: a cluster without a meta leader is silent.

    A pod started in the seconds of an election has to come up all the same.

    Raises:
        SourceUnavailable: the last attempt's, once the patience is over; `NotServable` at once.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + patience_seconds
    while True:
        try:
            return await attempt()
        except NotServable:
            raise
        except SourceUnavailable:
            if clock() >= give_up_at:
                raise
        await asyncio.sleep(pause_seconds)


async def ask(link: Link, subject: str, request: Mapping[str, Any], timeout_seconds: float = 3.0) -> dict[str, Any]:
    """One API request. Raises `ApiError` for the server's no, `SourceUnavailable` for silence."""
    payload = json.dumps(request).encode() if request else b""
    _, body = await link.request(subject, payload, timeout_seconds=timeout_seconds)
    try:
        answer = json.loads(body)
    except ValueError:
        raise SourceUnavailable(f"{subject} answered something that is not JSON") from None
    if not isinstance(answer, dict):
        raise SourceUnavailable(f"{subject} answered something that is not an object")
    error = answer.get("error")
    if error:
        raise ApiError(int(error.get("err_code", 0)), str(error.get("description", "no description")))
    return answer


@dataclass(frozen=True, slots=True)
class Found:
    """The namespace as the cluster has it."""

    namespace: Namespace
    streams: Mapping[int, StreamName]
    names: Mapping[int, str]


async def names_of(link: Link, api: Api, prefix: str) -> list[tuple[str, StreamName]]:
    """All streams named like ours with this prefix, in order of partition and age."""
    found: list[tuple[str, StreamName]] = []
    offset = 0
    while True:
        answer = await ask(link, api.stream_names, {"offset": offset, "subject": f"{prefix}.>"})
        names = answer.get("streams") or []
        for name in names:
            parsed = StreamName.parse(name)
            if parsed is not None and parsed.prefix == prefix:
                found.append((name, parsed))
        offset += len(names)
        if not names or offset >= int(answer.get("total", 0)):
            return sorted(found, key=lambda f: (f[1].partition, f[1].incarnation))


async def discover(link: Link, api: Api, prefix: str, known: Found | None = None) -> Found:
    """What there is; `known` saves questions.

    Raises `SourceUnavailable` if it cannot be told, `NotServable` if it is not complete or not for this version.
    """
    try:
        found = await names_of(link, api, prefix)
        if not found:
            raise Incomplete({}, f"there are no streams for subjects {prefix}.>: run `holdfast-gateway provision`")
        names = {parsed.partition: name for name, parsed in found}
        streams = {parsed.partition: parsed for _, parsed in found}
        if known is not None and known.names == names:
            return known
        info = await ask(link, f"{api.stream_info}.{names[min(names)]}", {})
    except ApiError as refused:
        raise SourceUnavailable(f"cannot list the streams: {refused}") from None
    metadata = (info.get("config") or {}).get("metadata") or {}
    if metadata.get(CONTRACT_KEY) != str(CONTRACT_VERSION):
        raise NotServable(
            f"stream {names[min(names)]} speaks contract version {metadata.get(CONTRACT_KEY)!r}, "
            f"this gateway speaks {CONTRACT_VERSION}"
        )
    partitions = str(metadata.get(PARTITIONS_KEY, ""))
    if not partitions.isdigit() or set(names) != set(range(int(partitions))):
        raise Incomplete(
            names,
            f"the namespace {prefix} should have {partitions or 'a known number of'} streams and has {len(names)}: "
            "run `holdfast-gateway provision`",
        )
    return Found(Namespace(int(partitions), prefix), streams, names)
