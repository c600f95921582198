"""The coalescer: bounds, batches, the leading edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.coalescer import Coalescer
from holdfast.errors import BufferFull
from holdfast.wire import codec, decode, event
from holdfast.wire.limits import MAX_BATCH_BYTES, MAX_BATCH_EVENTS


@given(st.lists(st.tuples(st.binary(max_size=30_000), st.sampled_from(["message", "a", "b" * 60])), max_size=60))
def test_events_stay_distinct_and_in_order(pairs: list[tuple[bytes, str]]) -> None:
    """Whatever is added comes out of the messages again, event by event, and every message is encodable."""
    c = Coalescer(0.0, 1 << 30, 1 << 20)
    wanted = [event(d, t) for d, t in pairs]
    for e in wanted:
        c.add(e)
    got = []
    while c.queue:
        batch = c.take(0.0)
        draft = codec.data(batch, writer="w-1", run=3)
        got += decode(1, draft.headers, draft.body).events
        c.settled(batch)
    assert got == wanted
    assert (c.size_bytes, c.events) == (0, 0)


def test_full_in_bytes() -> None:
    c = Coalescer(0.0, 100, 1000)
    c.add(event("x" * 90))
    assert not c.has_room(20)
    with pytest.raises(BufferFull, match=r"drain\(\).*write_async") as caught:
        c.add(event("y" * 20))
    assert (caught.value.size_bytes, caught.value.events, caught.value.limit_bytes) == (90, 1, 100)
    assert len(c.queue) == 1


def test_full_in_events_counts_what_is_in_flight() -> None:
    c = Coalescer(0.0, 1000, 3)
    for _ in range(3):
        c.add(event(""))
    batch = c.take(0.0)
    with pytest.raises(BufferFull):
        c.add(event(""))
    c.settled(batch)
    c.add(event(""))


def test_an_event_over_the_whole_bound_fits_an_empty_buffer() -> None:
    c = Coalescer(0.0, 10, 1000)
    c.add(event("x" * 50))
    with pytest.raises(BufferFull):
        c.add(event(""))


def test_batches_end_at_their_bounds() -> None:
    c = Coalescer(0.0, 1 << 30, 1 << 20)
    for _ in range(MAX_BATCH_EVENTS + 5):
        c.add(event("t"))
    assert len(c.take(0.0)) == MAX_BATCH_EVENTS
    assert len(c.take(0.0)) == 5
    c.add(event("x" * MAX_BATCH_BYTES))
    c.add(event("y"))
    assert len(c.take(0.0)) == 1


def test_leading_edge() -> None:
    c = Coalescer(0.025, 1000, 1000)
    c.add(event("a"))
    assert c.due_at(50.0) == 50.0
    c.take(50.0)
    c.add(event("b"))
    assert c.due_at(50.01) == 50.025
    assert c.due_at(50.03) == 50.03
    c.urgent = True
    assert c.due_at(50.01) == 50.01


def test_clear_keeps_count_of_what_is_in_flight() -> None:
    c = Coalescer(0.0, 1000, 10)
    c.add(event("aa"))
    batch = c.take(0.0)
    c.add(event("bbb"))
    c.clear()
    assert (c.size_bytes, c.events, len(c.queue)) == (2, 1, 0)
    c.settled(batch)
    assert (c.size_bytes, c.events) == (0, 0)
