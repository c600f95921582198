"""The tail check: a lost last message shows in no back pointer, so somebody has to ask.

One `multi_last` per 512 silent sessions and second: "which of these have a last message above W?", where W is the last
sequence that the previous answer had seen (`Nats-UpTo-Sequence`). Nothing newer costs the server 2 ms; each session
that has something newer costs its whole last message. So a session that live messages have reached since is left out
(its W would be old), and comes back in through one check from its own last sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast_gateway.broker.jetstream.channel import Channel, Partition
from holdfast_gateway.broker.jetstream.directget import Reader
from holdfast_gateway.ports import SourceUnavailable

SWEEP_SECONDS = 1.0
MAX_SUBJECTS = 512
MAX_ENTERING = 64
"""Sessions that enter are asked from the lowest of their last sequences, and all others answer in full: keep it few."""


async def sweep(reader: Reader, stream: str, partition: Partition) -> None:
    """One round over one stream. A request that fails is told to the stream's feeds and ends the round."""
    settled: list[Channel] = []
    entering: list[Channel] = []
    for channel in list(partition.channels.values()):
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
            reached.append(await _ask(reader, stream, partition, part, partition.swept_to))
        entering.sort(key=lambda c: c.last)
        for part in _parts(entering, MAX_ENTERING):
            reached.append(await _ask(reader, stream, partition, part, part[0].last))
            for channel in part:
                channel.swept = True
    except SourceUnavailable:
        partition.on_trouble(recheck=False)
        return
    if reached:
        partition.swept_to = min(reached)


async def _ask(reader: Reader, stream: str, partition: Partition, part: Sequence[Channel], above: int) -> int:
    newest, up_to = await reader.newest(stream, [c.stored_subject for c in part], above)
    for subject, sequence in newest.items():
        channel = partition.channels.get(subject)
        if channel is not None and sequence > channel.last:
            channel.on_newest(sequence)
    seen = above if up_to is None else max(above, up_to)  # a replica that is behind takes nothing back
    partition.highest = max(partition.highest, seen)
    return seen


def _parts(channels: list[Channel], size: int) -> list[list[Channel]]:
    return [channels[i : i + size] for i in range(0, len(channels), size)]
