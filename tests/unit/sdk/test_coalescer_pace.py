"""A model as fast as the publish interval: late timers must not add up."""

from __future__ import annotations

from holdfast.coalescer import Coalescer
from holdfast.wire import Event


def test_late_timers_do_not_push_later_messages_back() -> None:
    """An event every 20 ms, an interval of 20 ms, each timer 1 ms late: no event waits longer than that and a bit."""
    buffer, now, waits = Coalescer(0.020, 1 << 20, 1000), 100.0, []
    for number in range(200):
        now = 100.0 + number * 0.020
        buffer.add(Event(b"x"))
        due = buffer.due_at(now)
        sent = now if due <= now else due + 0.001
        buffer.settled(buffer.take(sent))
        waits.append(sent - now)
    assert max(waits) < 0.0021


def test_a_fast_model_still_gets_one_message_an_interval() -> None:
    """1,000 events a second for a second: 50 messages, and one for the leading edge."""
    buffer, messages = Coalescer(0.020, 1 << 20, 10_000), 0
    for millisecond in range(1000):
        now = 100.0 + millisecond / 1000
        buffer.add(Event(b"x"))
        if buffer.due_at(now) <= now:
            buffer.settled(buffer.take(now))
            messages += 1
    assert 49 <= messages <= 51
