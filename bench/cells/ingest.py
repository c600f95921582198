"""Cell i: what a pod's CPU pays for one event before any viewer is looked at, without a socket.

The bytes are what nats-server sends for the SDK's messages. They go through the parser, the decoder, the order, the
fold and the encoder into the ring, for 1,000 sessions in turn; nats-py's own parser and header reading for comparison.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from bench.loadclient import BUILD, ROOT
from bench.peers.base import System
from bench.placement import Placement
from bench.process import Child
from bench.results import Row

_SESSIONS = 1000
_ROUNDS = 60
_PER_READ = 100
_STREAM = "HOLDFAST_0_abcdefgh"


def cell_i(system: type[System], placement: Placement) -> Iterator[Row]:
    """Our parser and nats-py's, in a process of its own on the system's core."""
    for parser in ("fast", "nats-py"):
        argv = [sys.executable, "-m", "bench.cells.ingest", parser]
        child = Child("ingest", argv, cores=placement.system, cwd=ROOT.parent, talks=True, log=BUILD / "ingest.log")
        try:
            answer = child.hear(60)
        finally:
            child.stop()
        yield Row("i", f"{parser} parser, {_SESSIONS} sessions", system.name, placement.name, extra=answer)


def _message(session: int, sequence: int, previous: int, index: int) -> bytes:
    head = (
        f"NATS/1.0\r\nNats-Expected-Stream: {_STREAM}\r\nNats-Expected-Last-Subject-Sequence: {previous}\r\n"
        f"Holdfast-Writer: w{session:06d}-1\r\nHoldfast-Index: {index}\r\nHoldfast-Count: 1\r\n"
        f"Holdfast-Run: {session + 1}\r\nNats-Stream: {_STREAM}\r\nNats-Subject: hf.0.default.b{session}\r\n"
        f"Nats-Sequence: {sequence}\r\nNats-Time-Stamp: 2026-11-22T12:00:00.123456789Z\r\n"
        f"Nats-Last-Sequence: {previous}\r\n\r\n"
    ).encode()
    size = len(head) + 256
    return b"HMSG hfl.0.default.b%d %d %d %d\r\n%b%b\r\n" % (session, session + 1, len(head), size, head, b"x" * 256)


def _reads() -> list[bytes]:
    last = [session + 1 for session in range(_SESSIONS)]
    reads: list[bytes] = []
    pending: list[bytes] = []
    for number in range(_SESSIONS * _ROUNDS):
        index, session = divmod(number, _SESSIONS)
        sequence = _SESSIONS + number + 1
        pending.append(_message(session, sequence, last[session], index))
        last[session] = sequence
        if len(pending) == _PER_READ:
            reads.append(b"".join(pending))
            pending.clear()
    return reads


async def _measure(parser: Any, reads: list[bytes]) -> dict[str, float]:
    costs: list[float] = []
    group = 10
    for at in range(0, len(reads), group):
        before = time.process_time()
        for data in reads[at : at + group]:
            await parser.parse(data)
        costs.append((time.process_time() - before) / (group * _PER_READ) * 1e6)
    costs.sort()
    return {"us_per_event_median": round(costs[len(costs) // 2], 2), "us_per_event_least": round(costs[0], 2)}


async def _fast(reads: list[bytes]) -> dict[str, float]:
    from holdfast.wire import codec, decode
    from holdfast_gateway.broker.jetstream import decode as messages
    from holdfast_gateway.broker.jetstream.fastparse import FastParser
    from holdfast_gateway.core.log import RingBudget
    from holdfast_gateway.core.order import Order
    from holdfast_gateway.core.session import SessionCore

    tally: Any = SimpleNamespace(records=0, malformed=0, void_records=0, unknown_kinds=0)
    failures: list[Exception] = []
    parser = FastParser(SimpleNamespace(), failures.append)
    budget = RingBudget(1 << 40)
    orders: list[Order] = []
    for number in range(_SESSIONS):
        core = SessionCore("abcdefgh", 4 << 20, budget, tally)
        order = Order(_Into(core))
        order.subscribed()
        opening = codec.start(f"w{number:06d}-1", lease_seconds=30)
        order.page(0, [decode(number + 1, opening.headers, b"", previous=0)], 0)
        orders.append(order)

        def take(subject: bytes, block: bytes | None, body: bytes, order: Order = order) -> None:
            record = messages.live(block, body)
            if record is not None:
                order.live(record, len(body))

        parser.direct[b"%d" % (number + 1)] = take
    answer = await _measure(parser, reads)
    expected = len(reads) * _PER_READ + _SESSIONS
    if failures or tally.records != expected or tally.void_records:
        raise RuntimeError(f"{tally.records} of {expected} records folded, {tally.void_records} void, {failures[:1]}")
    return answer


class _Into:
    """A session's sink without viewers."""

    def __init__(self, core: Any) -> None:
        self._apply = core.apply

    def on_records(self, records: Any) -> None:
        for record in records:
            self._apply(record)

    def on_caught_up(self) -> None: ...

    def on_gap(self, earliest: int) -> None: ...


async def _plain(reads: list[bytes]) -> dict[str, float]:
    from nats.aio.client import Client
    from nats.aio.subscription import Subscription

    client = Client()
    seen = 0

    async def take(message: Any) -> None:
        nonlocal seen
        if message.headers:
            seen += 1

    for number in range(_SESSIONS):
        subscription = Subscription(client, number + 1, f"hfl.0.default.b{number}", cb=take)
        subscription._start(None)  # type: ignore[no-untyped-call]
        client._subs[number + 1] = subscription
    answer = await _measure(_Settled(client._ps), reads)
    await asyncio.sleep(0.1)
    if seen < len(reads) * _PER_READ:
        raise RuntimeError(f"{seen} messages of {len(reads) * _PER_READ} reached their callback")
    for subscription in client._subs.values():
        subscription._stop_processing()
    return answer


class _Settled:
    """nats-py hands messages to a task per subscription: they belong to the cost."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    async def parse(self, data: bytes) -> None:
        await self._parser.parse(data)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run((_fast if sys.argv[1] == "fast" else _plain)(_reads()))), flush=True)
