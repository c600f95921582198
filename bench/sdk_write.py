"""What writing costs a model's process: the SDK, a bare `js.publish` per token and Redis `XADD` per token, in one run.

Usage: ``python -m bench.sdk_write [--seconds 3] [--json FILE] [--uvloop] [--big]``

One nats-server (file store) and one redis-server (append-only file, fsync every second) as children; everything in
turn on the same cores, so ratios count and absolute figures are this machine's. `--big` adds 5,000 sessions at 20
chunks a second, with and without the minimum publish interval.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import nats
import redis.asyncio

import holdfast
from bench.machine import facts, load_average
from holdfast.testing import NatsServer, create_streams
from holdfast.testing.cluster import free_ports

TOKEN = " token"
Emit = Callable[[int], Awaitable[None]]


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * q))] if values else float("nan")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Ways:
    """The three ways to publish a token, and how to wait until all are stored."""

    def __init__(self, hf: holdfast.Holdfast, js: Any, xadd: redis.asyncio.Redis) -> None:
        self.hf, self.js, self.redis = hf, js, xadd
        self.sessions: list[holdfast.Session] = []

    async def open(self, stack: AsyncExitStack, count: int, **options: Any) -> None:
        name = f"b{time.monotonic_ns()}"
        opening = (stack.enter_async_context(self.hf.session(f"{name}-{i}", **options)) for i in range(count))
        self.sessions = list(await asyncio.gather(*opening)) if count < 500 else [await o for o in opening]

    async def sdk(self, n: int) -> None:
        self.sessions[n].write(TOKEN)

    async def publish(self, n: int) -> None:
        await self.js.publish(f"bare.{n}", TOKEN.encode())

    async def xadd(self, n: int) -> None:
        await self.redis.xadd(f"bare:{n}", {"d": TOKEN}, maxlen=10_000)


async def write_cost(ways: Ways) -> dict[str, float]:
    """Nanoseconds per synchronous write, in bursts that fit the buffer."""
    took: list[float] = []
    async with AsyncExitStack() as stack:
        await ways.open(stack, 1)
        (session,) = ways.sessions
        for _ in range(20):
            gc.collect()
            for _ in range(2000):
                began = time.perf_counter_ns()
                session.write(TOKEN)
                took.append(time.perf_counter_ns() - began)
            await session.drain()
    return {"p50_us": quantile(took, 0.5) / 1e3, "p99_us": quantile(took, 0.99) / 1e3}


async def ack_latency(ways: Ways, seconds: float) -> dict[str, dict[str, float]]:
    """From handing over one token to knowing that it is stored, one at a time."""
    results = {}
    async with AsyncExitStack() as stack:
        await ways.open(stack, 1, min_publish_interval_seconds=0)

        async def sdk(n: int) -> None:
            ways.sessions[0].write(TOKEN)
            await ways.sessions[0].drain()

        for name, emit in (("sdk", sdk), ("js.publish", ways.publish), ("xadd", ways.xadd)):
            took: list[float] = []
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                began = time.perf_counter()
                await emit(0)
                took.append((time.perf_counter() - began) * 1e3)
                await asyncio.sleep(0.001)
            results[name] = {"p50_ms": quantile(took, 0.5), "p99_ms": quantile(took, 0.99)}
    return results


async def loop_loss(ways: Ways, tokens: int = 100, rounds: int = 9) -> dict[str, dict[str, float]]:
    """What a loop of 5 ms a token loses by publishing each token, in percent, as medians of interleaved rounds.

    `longer`: how much longer the loop takes than the same loop that publishes nothing. `held`: the time from handing
    over each token to going on. `processor`: what the thread works for it, also while the model thinks.
    """

    async def loop(emit: Emit | None) -> tuple[float, float, float]:
        held = 0.0
        cpu, began = time.process_time(), time.perf_counter()
        for _ in range(tokens):
            await asyncio.sleep(0.005)
            if emit is not None:
                handed = time.perf_counter()
                await emit(0)
                held += time.perf_counter() - handed
        return time.perf_counter() - began, held, time.process_time() - cpu

    results: dict[str, list[tuple[float, float, float]]] = {"sdk": [], "js.publish": [], "xadd": []}
    async with AsyncExitStack() as stack:
        await ways.open(stack, 1)
        for _ in range(rounds):
            for name, emit in (("sdk", ways.sdk), ("js.publish", ways.publish), ("xadd", ways.xadd)):
                bare, with_it, after = await loop(None), await loop(emit), await loop(None)
                least = min(bare[0], after[0])
                cpu = with_it[2] - (bare[2] + after[2]) / 2
                results[name].append((with_it[0] / least - 1, with_it[1] / least, cpu / least))
    return {
        name: {
            kind: statistics.median(r[i] for r in found) * 100 for i, kind in enumerate(("longer", "held", "processor"))
        }
        for name, found in results.items()
    }


async def many(ways: Ways, sessions: int, rate: float, seconds: float, pids: dict[str, int]) -> dict[str, Any]:
    """Sessions at a rate each: what a token costs the process and the broker, and the share of the rate kept up."""
    results = {}
    for name in ("sdk", "js.publish", "xadd"):
        async with AsyncExitStack() as stack:
            if name == "sdk":
                await ways.open(stack, sessions)
            emit = {"sdk": ways.sdk, "js.publish": ways.publish, "xadd": ways.xadd}[name]
            pid = pids["redis" if name == "xadd" else "nats"]
            sent = 0
            stop = time.perf_counter() + seconds

            async def produce(n: int, emit: Emit = emit, stop: float = stop) -> None:
                nonlocal sent
                await asyncio.sleep(n / sessions / rate)
                due = time.perf_counter()
                while time.perf_counter() < stop:
                    await emit(n)
                    sent += 1
                    due += 1 / rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))

            cpu, broker, began = time.process_time(), cpu_seconds(pid), time.perf_counter()
            await asyncio.gather(*(produce(n) for n in range(sessions)))
            if name == "sdk":
                await asyncio.gather(*(s.drain() for s in ways.sessions))
            took = time.perf_counter() - began
            results[name] = {
                "tokens": sent,
                "kept_percent": 100 * sent / (sessions * rate * seconds),
                "tokens_per_second": sent / took,
                "client_us_per_token": (time.process_time() - cpu) / sent * 1e6,
                "broker_us_per_token": (cpu_seconds(pid) - broker) / sent * 1e6,
            }
    return results


async def big(
    hf: holdfast.Holdfast, pid: int, interval: float, sessions: int, rate: float, seconds: float
) -> dict[str, Any]:
    """One process, thousands of sessions. One task writes them all in turn: a task each would be what is measured."""
    took: list[float] = []
    name = f"big{time.monotonic_ns()}"
    opened: list[holdfast.Session] = []
    for i in range(0, sessions, 250):
        batch = [hf.session(f"{name}-{k}", min_publish_interval_seconds=interval) for k in range(i, i + 250)]
        opened += await asyncio.gather(*(s.open() for s in batch))

    async def sample() -> None:
        while True:
            await asyncio.sleep(0.02)
            session = opened[len(took) * 37 % sessions]
            began = time.perf_counter()
            session.write(TOKEN)
            await session.drain()
            took.append((time.perf_counter() - began) * 1e3)

    sampling = asyncio.create_task(sample())
    sent, full = 0, 0
    cpu, broker, began = time.process_time(), cpu_seconds(pid), time.perf_counter()
    slices, part = 50, 0
    while (now := time.perf_counter()) - began < seconds:
        for _ in range(int((now - began) * rate * slices) - part):  # all that is due, as timers of models would be
            for session in opened[part % slices :: slices]:
                try:
                    session.write(TOKEN)
                    sent += 1
                except holdfast.BufferFull:
                    full += 1
            part += 1
        await asyncio.sleep(max(0.0, began + (part + 1) / rate / slices - time.perf_counter()))
    wrote = time.perf_counter() - began
    sampling.cancel()
    await asyncio.gather(*(s.drain() for s in opened))
    settled = time.perf_counter() - began
    result = {
        "sessions": sessions,
        "interval_ms": interval * 1e3,
        "asked_per_second": sessions * rate,
        "written_per_second": sent / wrote,
        "stored_per_second": sent / settled,
        "buffer_full": full,
        "client_us_per_chunk": (time.process_time() - cpu) / sent * 1e6,
        "broker_us_per_chunk": (cpu_seconds(pid) - broker) / sent * 1e6,
        "ack_p50_ms": quantile(took, 0.5),
        "ack_p99_ms": quantile(took, 0.99),
    }
    for i in range(0, sessions, 250):
        await asyncio.gather(*(s.end() for s in opened[i : i + 250]))
    return result


async def measure(
    args: argparse.Namespace, server: NatsServer, redis_port: int, pids: dict[str, int]
) -> dict[str, Any]:
    await create_streams([server.url])
    nc = await nats.connect(server.url)
    js = nc.jetstream()
    await js.add_stream(name="BARE", subjects=["bare.>"])
    pool = redis.asyncio.BlockingConnectionPool(port=redis_port, max_connections=100, timeout=None)
    xadd = redis.asyncio.Redis(connection_pool=pool)
    try:
        async with holdfast.connect(server.url) as hf:
            ways = Ways(hf, js, xadd)
            found: dict[str, Any] = {"write": await write_cost(ways)}
            found["ack"] = await ack_latency(ways, args.seconds)
            found["loop_loss_percent"] = await loop_loss(ways)
            found["one_session"] = await many(ways, 1, 200, args.seconds, pids)
            found["thousand_sessions"] = await many(ways, 1000, 20, args.seconds, pids)
            if args.big:
                found["big"] = [await big(hf, pids["nats"], i, 5000, 20, args.seconds) for i in (0.02, 0.0)]
            return found
    finally:
        await xadd.aclose()
        await nc.close()


def show(found: dict[str, Any]) -> None:
    print(f"write: p50 {found['write']['p50_us']:.2f} us, p99 {found['write']['p99_us']:.2f} us (target p50 at most 5)")
    for name, lat in found["ack"].items():
        print(f"stored, one at a time, {name:<11} p50 {lat['p50_ms']:6.3f} ms  p99 {lat['p99_ms']:6.3f} ms")
    for name, loss in found["loop_loss_percent"].items():
        print(
            f"200 tokens/s loop, {name:<11} takes {loss['longer']:6.2f} % longer; {loss['held']:6.2f} % held up, "
            f"{loss['processor']:6.2f} % processor"
        )
    for cell in ("one_session", "thousand_sessions"):
        for name, r in found[cell].items():
            print(
                f"{cell:<18} {name:<11} {r['tokens_per_second']:9.0f} tokens/s ({r['kept_percent']:5.1f} % kept)  "
                f"{r['client_us_per_token']:6.1f} us client  {r['broker_us_per_token']:6.1f} us broker"
            )
    for r in found.get("big", ()):
        print(
            f"{r['sessions']} sessions, interval {r['interval_ms']:.0f} ms: asked {r['asked_per_second']:.0f}, "
            f"written {r['written_per_second']:.0f}, stored {r['stored_per_second']:.0f} chunks/s, "
            f"{r['client_us_per_chunk']:.1f} us client, {r['broker_us_per_chunk']:.1f} us broker a chunk, "
            f"ack p50 {r['ack_p50_ms']:.1f} p99 {r['ack_p99_ms']:.1f} ms, {r['buffer_full']} refused"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--uvloop", action="store_true")
    args = parser.parse_args()
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        print("redis-server is not installed: it is one of the ways compared", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        (port,) = free_ports(1)
        log = (Path(folder) / "redis.log").open("wb")
        child = subprocess.Popen(
            [redis_server, "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "yes"],
            stdout=log,
        )
        try:
            with NatsServer(Path(folder) / "nats") as server:
                pids = {"nats": server.pid, "redis": child.pid}
                before = load_average()
                if args.uvloop:
                    import uvloop

                    found = uvloop.run(measure(args, server, port, pids))
                else:
                    found = asyncio.run(measure(args, server, port, pids))
        finally:
            child.terminate()
            child.wait()
            log.close()
    print(f"machine: {facts()}, load before {before}\n")
    show(found)
    if args.json:
        args.json.write_text(json.dumps({"machine": facts(), "load_before": before, **found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
