"""Two hundred viewers, a wire that loses a tenth of the live messages, and nothing lost or doubled for anyone."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import holdfast
from tests.integration.gateway.lossy import lossy_wire
from tests.integration.gateway.programs import Nats, running, serving
from tests.integration.gateway.viewing import Viewer

VIEWERS = 200
EVENTS = 250
SEED = 7


async def test_two_hundred_viewers_reconnect_at_random_while_a_tenth_of_live_messages_is_thrown_away(
    nats: Nats, tmp_path: Path
) -> None:
    """Each ends with exactly the producer's events, and no consumer exists on any stream."""
    written = [f"token {i} " for i in range(EVENTS)]
    async with lossy_wire(nats.url, 0.1, SEED) as wire, running(*serving(wire.url), cwd=tmp_path) as gateway:
        dice = random.Random(SEED)
        viewers = [Viewer(f"{gateway.url}/v1/sessions/chat-42/events?wait=30") for _ in range(VIEWERS)]

        async def view(viewer: Viewer, place: int) -> None:
            await asyncio.sleep(dice.uniform(0, 4))
            await viewer.watch(reconnects=random.Random(SEED + place), mean_seconds=1.0)

        async with asyncio.timeout(150), asyncio.TaskGroup() as group:
            watching = [group.create_task(view(viewer, place)) for place, viewer in enumerate(viewers)]
            async with holdfast.connect(nats.url) as hf:
                async with hf.session("chat-42") as session:
                    for text in written:
                        session.write(text)
                        await asyncio.sleep(0.02)
                    consumers = await nats.consumers()
                    assert not all(task.done() for task in watching)
        reconnects = sum(viewer.connections - 1 for viewer in viewers)
        print(f"{VIEWERS} viewers, {reconnects} reconnects, {wire.dropped} of {wire.dropped + wire.passed} live lost")
        assert consumers == await nats.consumers() == 0
    wrong = [place for place, viewer in enumerate(viewers) if viewer.texts != written]
    assert not wrong, f"viewers {wrong} did not get exactly what was written"
    assert not any(viewer.named("session.gap") for viewer in viewers)
    assert all(len(viewer.named("session.end")) == 1 for viewer in viewers)
    # The test has to have tested something.
    assert wire.dropped > 10
    assert reconnects > VIEWERS
