"""One process of an application on NATS: waits to be released, streams a session with a generator of its own, and
tells whether its generator ran and what it saw. With `hang`, its model says one word and then no more.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import holdfast
from holdfast.serving import StoreStreamer
from holdfast.serving.nats_store import NatsStore

started = 0


async def model(hang: bool) -> AsyncIterator[str]:
    global started
    started += 1
    yield "a"
    if hang:
        await asyncio.Event().wait()
    for word in "bc":
        await asyncio.sleep(0.05)
        yield word


async def main(url: str, session_id: str, hang: bool) -> None:
    async with holdfast.connect(url) as hf:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        streamer = StoreStreamer(NatsStore(hf, lease_seconds=1, grace_seconds=1), owns_store=True)
        events = [e async for e in streamer.stream(session_id, model(hang))]
        words = " ".join(e["data"] for e in events if e["data"])
        print(started, f"{words} | {' '.join(e['event'] for e in events)}", flush=True)
        await streamer.aclose()


asyncio.run(main(sys.argv[1], sys.argv[2], "hang" in sys.argv))
