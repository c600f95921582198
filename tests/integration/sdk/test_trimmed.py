"""A session whose log lost its beginning, on a real server: read, taken over and ended as the run that it is."""

from __future__ import annotations

import pytest

import holdfast
from holdfast import operations
from holdfast.wire import codec, event


async def test_plain_data_in_front_does_not_hide_the_run_behind_it(hf: holdfast.Holdfast, sid: str) -> None:
    """The run's start and first events are gone, and what is left begins with somebody's plain message: the writer's
    messages still count, a takeover continues that run, and the writer before is fenced."""
    s = await hf.session(sid, min_publish_interval_seconds=0).open()
    for n in range(3):
        s.write(f"gone {n}")
        await s.drain()
    plain = await operations.append(hf._log, s._place, codec.data([event("plain")]))
    s.write("left")
    await s.drain()
    assert await hf._log.purge(s._place, plain.sequence)

    resumed = await hf.resume(sid).open()
    assert resumed.run == s.run
    s.write("zombie")
    with pytest.raises(holdfast.SessionFenced):
        await s.drain()
    resumed.write("more")
    await resumed.end()

    told = [(e.type, e.text if e.type == "message" else e.json().get("reason")) async for e in hf.read(sid)]
    assert told == [
        ("message", "plain"),
        ("session.gap", "trimmed"),
        ("message", "left"),
        ("message", "more"),
        ("session.end", None),
    ]
