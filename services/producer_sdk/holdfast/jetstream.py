"""The log on NATS JetStream: fenced appends, batched Direct Gets, and the streams learnt from their own metadata."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.answer import Answer
from holdfast.connection import Access, Connection, Subscription
from holdfast.errors import BrokerUnavailable, ContractMismatch, NotProvisioned
from holdfast.log import Page, Place
from holdfast.requests import Requests
from holdfast.wire import Draft, Namespace, Record, SessionKey, StreamName
from holdfast.wire import headers as h
from holdfast.wire.limits import CONTRACT_VERSION, MAX_EVENT_BYTES, MAX_HEADER_BYTES

PAGE_RECORDS: Final = 64
PAGE_BYTES: Final = 2 * 1024 * 1024
CONTRACT_KEY: Final = "holdfast_contract"
PARTITIONS_KEY: Final = "holdfast_partitions"


class JetStreamLog:
    """See `holdfast.log.Log`. Open with `open_log`."""

    def __init__(self, connection: Connection, requests: Requests, prefix: str) -> None:
        self._connection = connection
        self._requests = requests
        self._prefix = prefix
        self._streams: dict[int, tuple[str, str]] = {}
        self.namespace = Namespace(1, prefix)
        self.servers = connection.servers
        self.max_age_seconds = 86_400.0
        self.on_up: Callable[[], None] = _nothing
        connection.on_up = self._up
        connection.on_down = requests.lost

    @property
    def max_event_bytes(self) -> int:
        """What fits beside its headers into a message of this server's."""
        return min(MAX_EVENT_BYTES, self._connection.max_payload_bytes - MAX_HEADER_BYTES)

    def _up(self) -> None:
        self.on_up()

    # ------------------------------------------------------------------------------------------------- streams

    async def refresh(self) -> None:
        """Learn partition count, stream names and incarnations from the streams themselves."""
        found, leaderless = await self._list()
        partitions, ages = 0, []
        streams: dict[int, tuple[str, str]] = {}
        for config in found:
            name = StreamName.parse(config["name"])
            if name is None or name.prefix != self._prefix:
                continue
            told = config.get("metadata") or {}
            contract = str(told.get(CONTRACT_KEY))
            if contract != str(CONTRACT_VERSION):
                raise ContractMismatch(config["name"], CONTRACT_KEY, contract, str(CONTRACT_VERSION))
            count = str(told.get(PARTITIONS_KEY))
            if not count.isdigit() or (partitions and int(count) != partitions):
                raise ContractMismatch(config["name"], PARTITIONS_KEY, count, str(partitions or "a number"))
            partitions = int(count)
            streams[name.partition] = (config["name"], name.incarnation)
            ages.append(config.get("max_age", 0) / 1e9 or 10 * 86_400.0)
        for listed in leaderless:
            name = StreamName.parse(listed)
            if name is not None and name.prefix == self._prefix:
                if not streams:
                    raise BrokerUnavailable(self.servers, "no stream has a leader at the moment")
                streams.setdefault(name.partition, (listed, name.incarnation))
        missing = sorted(set(range(partitions)) - set(streams))
        if not streams or missing:
            which = f"the streams of partitions {missing} are missing" if streams else "there are no Holdfast streams"
            raise NotProvisioned(self.servers, self._prefix, which)
        self.namespace = Namespace(partitions, self._prefix)
        self.max_age_seconds = min(ages)
        self._streams = streams

    async def _list(self) -> tuple[list[dict[str, Any]], list[str]]:
        """The configurations, and the names of streams that could not tell theirs because they are electing a leader.

        The API waits 4 s for those. They are there all the same, and speak the contract of the others.
        """
        configs: list[dict[str, Any]] = []
        leaderless: list[str] = []
        seen = 0
        while True:
            query = json.dumps({"subject": f"{self._prefix}.>", "offset": seen}).encode()
            try:
                status, body = await self._requests.request("$JS.API.STREAM.LIST", query, 5.0)
            except (TimeoutError, ConnectionError) as error:
                why = str(error) or "no answer about its streams (may this user ask $JS.API.STREAM.LIST?)"
                raise BrokerUnavailable(self.servers, why) from None
            if status == 503:
                raise NotProvisioned(self.servers, self._prefix, "JetStream is not enabled, so there are no streams")
            answer = json.loads(body)
            if "error" in answer:
                why = str(answer["error"].get("description"))
                raise BrokerUnavailable(self.servers, f"listing streams: {why}")
            page, silent = answer.get("streams") or [], answer.get("missing") or []
            configs += [stream["config"] for stream in page]
            leaderless += silent
            seen += len(page) + len(silent)
            if not (page or silent) or seen >= answer.get("total", 0):
                return configs, leaderless

    def place(self, key: SessionKey) -> Place:
        namespace = self.namespace
        stream, incarnation = self._streams[namespace.partition(key)]
        return Place(key, namespace.stored(key), namespace.live(key), stream, incarnation)

    # ------------------------------------------------------------------------------------------ append and read

    def append(self, place: Place, draft: Draft, expected: int | None, done: Callable[[Answer], None]) -> None:
        lines = ["NATS/1.0", f"{h.EXPECTED_STREAM}: {place.stream}"]
        if expected is not None:
            lines.append(f"{h.EXPECTED_LAST}: {expected}")
        lines += [f"{name}: {value}" for name, value in draft.headers.items()]
        block = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._requests.append(place.stored, block, draft.body, done)

    def page(self, place: Place, after: int, done: Callable[[Page | None], None]) -> None:
        query = {"seq": after + 1, "next_by_subj": place.stored, "batch": PAGE_RECORDS, "max_bytes": PAGE_BYTES}

        def paged(records: list[Record] | None, more: bool) -> None:
            done(None if records is None else Page(records, more))

        self._requests.page(f"$JS.API.DIRECT.GET.{place.stream}", json.dumps(query).encode(), paged)

    async def last_sequence(self, place: Place) -> int | None:
        query = json.dumps({"last_by_subj": place.stored}).encode()
        try:
            status, body = await self._requests.request(f"$JS.API.STREAM.MSG.GET.{place.stream}", query, 1.0)
        except (TimeoutError, ConnectionError):
            return None
        if status:
            return None
        answer = json.loads(body)
        if "error" in answer:
            return 0 if answer["error"].get("err_code") == 10037 else None  # no message found
        return int(answer["message"]["seq"])

    async def purge(self, place: Place, before: int) -> bool:
        query = json.dumps({"filter": place.stored, "seq": before}).encode()
        try:
            status, body = await self._requests.request(f"$JS.API.STREAM.PURGE.{place.stream}", query, 10.0)
        except (TimeoutError, ConnectionError):
            return False
        return status == 0 and bool(json.loads(body).get("success"))

    # --------------------------------------------------------------------------------------------------- hints

    async def watch(self, subject: str, told: Callable[[bytes], None]) -> Subscription:
        return await self._connection.subscribe(subject, lambda _subject, _headers, body: told(body))

    def hint(self, subject: str, body: bytes) -> None:
        self._connection.send(subject, "", b"", body)

    async def close(self) -> None:
        self._requests.close()
        await self._connection.close()


def _nothing() -> None:
    return None


async def open_log(
    servers: Sequence[str], *, prefix: str, access: Access, timeout_seconds: float, name: str
) -> JetStreamLog:
    """Connect and learn the streams, within a bound. Raises `BrokerUnavailable`, `NotProvisioned`,
    `ContractMismatch`. Cancelling leaves nothing open."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    connection = Connection(servers, access, name)
    await connection.open(timeout_seconds)
    try:
        requests = Requests(connection)
        await requests.open()
        log = JetStreamLog(connection, requests, prefix)
        while True:
            try:
                await log.refresh()
                return log
            except BrokerUnavailable:  # a cluster without a leader yet
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(0.2)
    except BaseException:
        await connection.close()
        raise
