"""The publisher process: ``python -m bench.publish WAY PLAN TARGET``, the last two as JSON.

Spoken to by lines: it says ``{"ready": true}`` once its sessions are open, takes ``go START_US PATIENCE_SECONDS``,
says what it did, and ends its sessions at ``finish`` or at the end of its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

from bench.publish.schedule import Plan
from bench.publish.ways import WAYS


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def _main(way_name: str, plan: Plan, target: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    way = WAYS[way_name](plan, target)
    await way.open()
    _say({"ready": True})
    command = (await lines.readline()).decode().split()
    if command and command[0] == "go":
        late = await way.run(int(command[1]), float(command[2]))
        _say(
            {
                "offered": plan.total,
                "accepted": way.accepted,
                "refused": way.refused,
                "late_seconds": late.worst_seconds,
            }
        )
        await lines.readline()
    await way.close()


def _run() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(sys.argv[1], Plan.from_json(sys.argv[2]), json.loads(sys.argv[3])))


if __name__ == "__main__":
    _run()
