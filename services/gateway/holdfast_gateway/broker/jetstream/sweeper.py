"""The tail check: a lost last message shows in no back pointer, so somebody has to ask.

One `multi_last` per 512 silent sessions and second: "which of these have a last message above W?", where W is the last
sequence that the previous answer had seen (`Nats-UpTo-Sequence`). Nothing newer costs the server 2 ms; each session
that has something newer costs its whole last message. So a session that live messages have reached since is left out
(its W would be old), and comes back in through a check from its own last sequence, together with those near it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_gateway.broker.jetstream.channel import Channel, Partition
from holdfast_gateway.broker.jetstream.directget import Reader
from holdfast_gateway.ports import SourceUnavailable

SWEEP_SECONDS = 1.0
REWIND_SECONDS = 20.0
"""How long a stream has to be behind what was seen of it before its leader is asked whether it was rolled back."""

MAX_SUBJECTS = 512


@dataclass(frozen=True, slots=True)
class Swept:
    """One round over one stream: sessions that live messages have reached since the last one, and sessions found to
    have messages that did not come."""

    heard: int
    found: int


async def sweep(reader: Reader, stream: str, partition: Partition) -> Swept:
    """One round over one stream. A request that fails is told to the stream's feeds and ends the round."""
    settled: list[Channel] = []
    entering: list[Channel] = []
    heard = found = 0
    for channel in list(partition.channels.values()):
        heard += channel.active
        if channel.active or not channel.flowing:
            channel.active = channel.swept = False
        elif channel.swept and partition.swept_to is not None:
            settled.append(channel)
        else:
            entering.append(channel)
    reached: list[int] = []
    try:
        for part in _parts(settled, MAX_SUBJECTS):
            assert partition.swept_to is not None
            newer, upto = await _ask(reader, stream, partition, part, partition.swept_to)
            found += newer
            reached.append(upto)
        entering.sort(key=lambda c: c.last)
        for part in _parts(entering, MAX_SUBJECTS):
            newer, upto = await _ask(reader, stream, partition, part, part[0].last)
            found += newer
            reached.append(upto)
            for channel in part:
                channel.swept = True
        if reached:
            partition.swept_to = min(reached)
        await _look_back(reader, stream, partition)
    except SourceUnavailable:
        partition.on_failure()
    return Swept(heard, found)


async def _ask(
    reader: Reader, stream: str, partition: Partition, part: Sequence[Channel], above: int
) -> tuple[int, int]:
    """How many sessions have something newer, and up to which sequence the answer goes."""
    newest, up_to = await reader.newest(stream, [c.stored_subject for c in part], above)
    found = 0
    for subject, sequence in newest.items():
        channel = partition.channels.get(subject)
        if channel is not None and sequence > channel.last:
            found += 1
            channel.on_newest(sequence)
    partition.highest = max(partition.highest, up_to)
    if up_to == partition.highest:
        partition.behind_since = None
    elif partition.behind_since is None:
        partition.behind_since = asyncio.get_running_loop().time()
    return found, max(above, up_to)  # a replica that is behind takes nothing back


async def _look_back(reader: Reader, stream: str, partition: Partition) -> None:
    """A store that was rolled back counts anew from an older sequence, under the same name: every feed would wait for
    ever above it. A replica may be behind, a deposed leader for 14 s; past that the leader's word is taken."""
    since, now = partition.behind_since, asyncio.get_running_loop().time()
    if since is None or now - since < REWIND_SECONDS:
        return
    last = await reader.last_sequence(stream)
    partition.behind_since = None
    if last < partition.highest:
        told = f"stream {stream} was rolled back from sequence {partition.highest} to {last}"
        partition.highest, partition.swept_to = last, None
        partition.on_gone(told)


def _parts(channels: list[Channel], size: int) -> list[list[Channel]]:
    return [channels[i : i + size] for i in range(0, len(channels), size)]
