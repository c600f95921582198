"""Reads of a stream: batched Direct Get (any replica, ADR-31) and message reads by the leader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.wire import Record
from holdfast.wire import headers as h
from holdfast_gateway.broker.jetstream import decode
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.broker.jetstream.replies import Take
from holdfast_gateway.broker.jetstream.streams import MESSAGE_NOT_FOUND, Api, ApiError, ask
from holdfast_gateway.ports import Page, SourceUnavailable

MAX_PAGE_BYTES = 2 * 1024 * 1024
READ_SECONDS = 2.0
FRESH_NANOSECONDS = 3_000_000_000
"""Replicas answer a leader every second; an election takes 4 to 9 s (compiled into the server)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a complete answer ended. `up_to`: the answering replica's last sequence; `last`: that of the answer's last
    message; each None where the server does not say."""

    pending: int
    up_to: int | None
    last: int | None


class Reader:
    """Reads of the streams over one connection (not the live one: the server may read inline in its loop)."""

    def __init__(self, link: Link, api: Api) -> None:
        self._link = link
        self._api = api

    async def page(self, stream: str, subject: str, start: int, limit: int) -> Page:
        """Consecutive records of one subject from `start`, inclusive. Raises `SourceUnavailable`."""
        records: list[Record] = []
        before = 0
        whole = True

        def take(block: bytes | None, body: bytes) -> None:
            nonlocal before, whole
            read = decode.stored(block, body, before)
            # Answers are chained, so that one lost on a route is noticed: there is no flow control in a batch.
            if read is None or read[1] != before:
                whole = False
                return
            records.append(read[0])
            before = read[0].sequence

        request = {"seq": start, "next_by_subj": subject, "batch": limit, "max_bytes": MAX_PAGE_BYTES}
        ended = await self.batch(stream, request, take)
        if not whole or (records and ended.last != before):
            raise SourceUnavailable(f"an answer of {stream} came incomplete")
        return Page(tuple(records), ended.pending)

    async def newest(self, stream: str, subjects: Sequence[str], above: int) -> tuple[dict[str, int], int]:
        """Of these subjects (at most 1,024) those with messages above a sequence, with their last one; and up to which
        sequence the answering replica has looked. Large answers come in several parts."""
        newest: dict[str, int] = {}

        def take(block: bytes | None, body: bytes) -> None:
            _, headers = h.parse_block(block)
            subject, sequence = headers.get(h.SUBJECT), h.number(headers.get(h.SEQUENCE))
            if subject is not None and sequence is not None:
                newest[subject] = sequence

        looked: int | None = None
        start = above + 1
        while True:
            request = {"multi_last": list(subjects), "seq": start, "max_bytes": MAX_PAGE_BYTES}
            ended = await self.batch(stream, request, take)
            up_to = above if ended.up_to is None else ended.up_to
            looked = up_to if looked is None else min(looked, up_to)
            if not ended.pending:
                return newest, looked
            if ended.last is None or ended.last < start:
                raise SourceUnavailable(f"an answer of {stream} came incomplete")
            start = ended.last + 1

    async def owner(self, stream: str, sequence: int) -> str | None:
        """The subject of a message, if the replica that answers has it."""
        owner: str | None = None

        def take(block: bytes | None, body: bytes) -> None:
            nonlocal owner
            _, headers = h.parse_block(block)
            if h.number(headers.get(h.SEQUENCE)) == sequence:
                owner = headers.get(h.SUBJECT)

        await self.batch(stream, {"seq": sequence, "batch": 1}, take)
        return owner

    async def batch(self, stream: str, request: Mapping[str, Any], take: Take) -> Ended:
        """A batched Direct Get, to its end. `take` gets each message as it comes, so that decoding overlaps with the
        server's work. Raises `SourceUnavailable`; `take` may have got a part by then."""
        done: asyncio.Future[tuple[int, Mapping[str, str]]] = asyncio.get_running_loop().create_future()

        def answer(block: bytes | None, body: bytes) -> None:
            if block is None or not block.startswith(b"NATS/1.0 "):
                take(block, body)
            elif not done.done():
                done.set_result(h.parse_block(block))

        subject = f"{self._api.direct_get}.{stream}"
        with self._link.replies(answer) as inbox:
            self._link.publish(subject, json.dumps(request).encode(), reply=inbox)
            status, headers = await self._link.within(done, READ_SECONDS, subject)
        if status == 204:
            pending = h.number(headers.get(h.NUM_PENDING)) or 0
            return Ended(pending, h.number(headers.get(h.UP_TO_SEQUENCE)), h.number(headers.get(h.LAST_SEQUENCE)))
        if status == 404:
            return Ended(0, None, None)
        raise SourceUnavailable(f"{subject} answered with status {status}")

    # ------------------------------------------------------------------------------------------ the leader

    async def leader(self, stream: str, request: Mapping[str, Any]) -> tuple[str, Record] | None:
        """One message as the leader has it: subject and record; None if it has none. Raises `SourceUnavailable`."""
        try:
            answer = await ask(self._link, f"{self._api.message_get}.{stream}", request, READ_SECONDS)
        except ApiError as refused:
            if refused.code == MESSAGE_NOT_FOUND:
                return None
            raise SourceUnavailable(str(refused)) from None
        message = decode.leader_message(answer.get("message") or {})
        if message is None:
            raise SourceUnavailable("the leader answered without a message")
        return message

    async def beyond(self, stream: str, subject: str, last: int) -> tuple[bool, Record | None]:
        """Whether `last` is still a message of this subject, and the first one above it, as the leader has it."""
        present = False
        if last:
            at = await self.leader(stream, {"seq": last})
            present = at is not None and at[0] == subject
        above = await self.leader(stream, {"seq": last + 1, "next_by_subj": subject})
        return present, None if above is None else above[1]

    async def last_sequence(self, stream: str) -> int:
        """The stream's last sequence as its leader has it, a leader that is in touch with its majority.

        Raises `SourceUnavailable`: no such leader answers.
        """
        try:
            info = await ask(self._link, f"{self._api.stream_info}.{stream}", {}, READ_SECONDS)
            last = int(info["state"]["last_seq"])
            sound = in_touch(info.get("cluster"))
        except (ApiError, KeyError, TypeError, ValueError) as failure:
            raise SourceUnavailable(f"no state of stream {stream}: {failure}") from None
        if not sound:
            raise SourceUnavailable(f"stream {stream} has no leader that is in touch with its majority")
        return last


def in_touch(cluster: Mapping[str, Any] | None) -> bool:
    """Whether the STREAM.INFO that says this comes from a leader that nobody can have replaced.

    A node that is cut off answers for a stream it only follows, without a leader's name; a leader that is cut off
    names itself for 20 s (both run). But a leader that has heard from its majority within the shortest time an
    election takes cannot have a successor.
    """
    if cluster is None:  # a single server
        return True
    if not cluster.get("leader"):
        return False
    replicas = cluster.get("replicas") or []
    heard = sum(1 for r in replicas if not r.get("offline") and int(r.get("active", 0)) < FRESH_NANOSECONDS)
    return 2 * (heard + 1) > len(replicas) + 1
