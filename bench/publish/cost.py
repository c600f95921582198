"""What one token costs a model loop: ``python -m bench.publish.cost WAY SESSIONS TARGET``.

The loop is a model at 200 tokens a second: after each token it sleeps until the next is due. What a publish keeps it
from being back in time is what it loses; a call that waits for the network loses the round trip of every token.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from abc import ABC, abstractmethod
from typing import Any

import uvloop

from bench.publish.schedule import Plan
from bench.publish.ways import Sdk

_RATE = 200
_SECONDS = 3
_TOKEN = "token " * 2


class Producer(ABC):
    """A way to publish a token from a model loop."""

    def __init__(self, sessions: int, target: dict[str, Any]) -> None:
        """Take where it goes."""
        self.sessions = sessions
        self.target = target

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def put(self, session: int) -> None:
        """Publish one token, as the loop would call it."""

    @abstractmethod
    async def close(self) -> None:
        """Wait for what is out, and hang up."""


class SdkProducer(Producer):
    """``write``: synchronous, nothing to await."""

    async def open(self) -> None:
        self._way = Sdk(Plan(self.sessions, 1, 1), self.target)
        await self._way.open()
        self._writes = [session.write for session in self._way._sessions]

    async def put(self, session: int) -> None:
        self._writes[session](_TOKEN)

    async def close(self) -> None:
        await self._way.settle()
        await self._way.close()


class BarePublish(Producer):
    """An acknowledged JetStream publish per token with the plain client."""

    async def open(self) -> None:
        import nats

        self._client = await nats.connect(self.target["nats"])
        self._stream = self._client.jetstream()
        await self._stream.add_stream(name=f"bench_{self.sessions}", subjects=[f"bench.{self.sessions}.>"])

    async def put(self, session: int) -> None:
        await self._stream.publish(f"bench.{self.sessions}.{session}", _TOKEN.encode())

    async def close(self) -> None:
        await self._client.close()


class XAdd(Producer):
    """A Redis ``XADD`` per token."""

    async def open(self) -> None:
        import redis.asyncio as redis

        self._client = redis.Redis.from_url(self.target["redis"], max_connections=10_000)

    async def put(self, session: int) -> None:
        await self._client.xadd(f"bench:{self.sessions}:{session}", {"data": _TOKEN})

    async def close(self) -> None:
        await self._client.aclose()


_WAYS: dict[str, type[Producer]] = {"sdk": SdkProducer, "bare-publish": BarePublish, "xadd": XAdd}


async def _model(producer: Producer, session: int, calls: list[int]) -> tuple[float, float]:
    """Return the seconds the loop spent publishing, and the seconds it took in all."""
    start = time.monotonic() + session / producer.sessions / _RATE
    lost = 0
    for token in range(_RATE * _SECONDS):
        wait = start + token / _RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        before = time.perf_counter_ns()
        await producer.put(session)
        spent = time.perf_counter_ns() - before
        calls.append(spent)
        lost += spent
    return lost / 1e9, time.monotonic() - start


async def _main(way: str, sessions: int, target: dict[str, Any]) -> dict[str, Any]:
    producer = _WAYS[way](sessions, target)
    await producer.open()
    calls: list[int] = []
    cpu = time.process_time()
    spent = await asyncio.gather(*(_model(producer, session, calls) for session in range(sessions)))
    cpu = time.process_time() - cpu
    await producer.close()
    cuts = statistics.quantiles(calls, n=100)
    return {
        "tokens": len(calls),
        "call_p50_us": round(cuts[49] / 1000, 2),
        "call_p99_us": round(cuts[98] / 1000, 2),
        "loop_share_lost_percent": round(100 * sum(lost for lost, _ in spent) / sum(took for _, took in spent), 2),
        "cpu_us_per_token": round(cpu / len(calls) * 1e6, 1),
    }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answer = runner.run(_main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
    print(json.dumps(answer), flush=True)
