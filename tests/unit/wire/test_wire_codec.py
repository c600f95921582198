"""Encoding: strict, inverse to decoding, and within the limits that the broker and every reader keep."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.wire import Batch, Event, EventTooLarge, InvalidEventType, InvalidId, Kind, codec, decode, limits
from holdfast.wire import headers as h

TYPES = st.sampled_from(["message", "delta", "t", "tool.call", "x" * 64]) | st.from_regex(
    r"[A-Za-z0-9_./:@+-]{1,64}", fullmatch=True
).filter(lambda name: not name.startswith("session."))
EVENTS = st.builds(Event, st.binary(max_size=40), TYPES)
WRITERS = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
BROKERS_SHARE = 12 + len(h.EXPECTED_LAST) + 4 + 19 + len(h.EXPECTED_STREAM) + 4 + 48
"""Bytes of the headers that the publisher adds to a draft's own."""


@given(
    st.lists(EVENTS, min_size=1, max_size=60),
    st.none() | WRITERS,
    st.none() | st.integers(1, 10**18),
    st.integers(0, 10**18),
)
def test_what_is_encoded_is_read(events: list[Event], writer: str | None, run: int | None, index: int) -> None:
    """Events come back in number, order, type and bytes, with who wrote them and where they stand in the run."""
    draft = codec.data(events, writer=writer, run=run, index=index)
    record = decode(5, draft.headers, draft.body)
    assert record.events == tuple(events)
    assert (record.kind, record.writer, record.run, record.malformed) == (Kind.DATA, writer, run, False)
    if writer is not None:
        assert record.first_index == index
        assert draft.headers[h.COUNT] == str(len(events))


ADVERSARIAL = st.lists(
    st.tuples(
        st.sampled_from(
            [0, 1, 9, 10, 63, 64, 99, 100, 999, 1000, 9_999, 10_000, 32_768, 65_535, 65_536, 65_537, 262_144]
        ),
        st.integers(0, 400),
        st.sampled_from([1, 2, 63, 64]),
    ),
    min_size=1,
    max_size=200,
)


@settings(max_examples=150, deadline=None)
@given(ADVERSARIAL, st.integers(1, 1200), WRITERS)
@example([(0, 0, 1)], 1200, "w" * 128)
@example([(1, n, 64) for n in range(200)], 1200, "w" * 128)
@example([(63, n, 1) for n in range(60)], 1200, "w" * 128)
@example([(0, 0, 64), (10, 1, 64)], 1200, "w" * 128)
@example([(65_536, 0, 1), (0, 1, 1)], 1200, "w" * 128)
@example([(262_144, 0, 64), (0, 0, 64)], 2, "w" * 128)
def test_i8_what_fits_is_taken(shapes: list[tuple[int, int, int]], rounds: int, writer: str) -> None:
    """Whatever `fits` let in, `data` encodes: within 1,024 events, the body's limit and 8 KiB of headers in all."""
    batch = Batch()
    for n in range(rounds):
        size, which, width = shapes[n % len(shapes)]
        candidate = Event(bytes(size), f"{which:0>{width}}"[-64:])
        if not batch.fits(candidate):
            break
        batch.add(candidate)
    draft = codec.data(batch.events, writer=writer, run=2**63 - 1, index=2**63 - 1)
    assert h.size_bytes(dict(draft.headers)) + BROKERS_SHARE <= limits.MAX_HEADER_BYTES
    assert len(batch.events) <= limits.MAX_BATCH_EVENTS
    assert len(batch.events) == 1 or len(draft.body) <= limits.MAX_BATCH_BYTES
    assert batch.size_bytes == len(draft.body)
    assert decode(1, draft.headers, draft.body).events == tuple(batch.events)


def test_a_batch_is_not_needlessly_small() -> None:
    """The bounds of a batch are those of the contract: 1,024 short events of one type fit, and 64 KiB do."""
    batch = Batch()
    while batch.fits(Event(b"four")):
        batch.add(Event(b"four"))
    assert len(batch.events) == limits.MAX_BATCH_EVENTS
    batch = Batch()
    while batch.fits(Event(bytes(1024))):
        batch.add(Event(bytes(1024)))
    assert batch.size_bytes == limits.MAX_BATCH_BYTES


def test_a_large_event_travels_alone() -> None:
    """An empty batch takes any event; after one over the coalescing limit nothing else fits, not even nothing."""
    batch = Batch()
    large = Event(bytes(limits.MAX_EVENT_BYTES))
    assert batch.fits(large)
    batch.add(large)
    assert not batch.fits(Event(b""))
    assert codec.data(batch.events).body == large.data


@pytest.mark.parametrize(
    "events",
    [
        [Event(b"")] * (limits.MAX_BATCH_EVENTS + 1),
        [Event(bytes(limits.MAX_BATCH_BYTES)), Event(b"x")],
        [Event(b"", f"{n:0>64}") for n in range(200)],
    ],
    ids=["events", "body", "headers"],
)
def test_i8_what_does_not_fit_is_refused(events: list[Event]) -> None:
    """A message over a limit is a typed error before anything is sent: the broker would refuse it for ever."""
    with pytest.raises(EventTooLarge):
        codec.data(events)


@pytest.mark.parametrize("name", ["session.end", "a\r\nHoldfast-Kind: end", "a,b", ""])
def test_events_not_made_by_event_are_checked(name: str) -> None:
    """A type that would forge a header or a control event is refused, alone or coalesced."""
    for events in ([Event(b"x", name)], [Event(b"x", name)] * 2, [Event(b"x"), Event(b"y", name)]):
        with pytest.raises(InvalidEventType):
            codec.data(events)


def test_a_message_carries_an_event() -> None:
    """No events is no message."""
    with pytest.raises(ValueError, match="at least one"):
        codec.data([])


def test_ids_are_tokens() -> None:
    """Writers and run names become headers and subjects, so nothing else is taken."""
    for bad in ("", "a b", "a\r\nHoldfast-Kind: end", "a.b"):
        with pytest.raises(InvalidId):
            codec.start(bad)
        with pytest.raises(InvalidId):
            codec.takeover(bad, 1)
        with pytest.raises(InvalidId):
            codec.alive(bad, 1)
        with pytest.raises(InvalidId):
            codec.start("w", name=bad)
        with pytest.raises(InvalidId):
            codec.cancelled(bad)


@given(st.floats(0.001, limits.MAX_LEASE_SECONDS))
def test_leases_come_back(lease: float) -> None:
    """A lease is read as it was written, to the millisecond."""
    assert decode(1, codec.start("w", lease_seconds=lease).headers, b"").lease_seconds == pytest.approx(
        lease, abs=0.0006
    )


@pytest.mark.parametrize("lease", [0, -1, 0.0001, 86_401, float("inf"), float("nan")])
def test_unusable_leases(lease: float) -> None:
    """A lease that no reader would take is refused."""
    with pytest.raises(ValueError, match="lease"):
        codec.start("w", lease_seconds=lease)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_results_come_back(result: object) -> None:
    """Any JSON value may be the result of a run."""
    draft = codec.end("w", 1, result=result)
    assert decode(2, draft.headers, draft.body).payload == ({} if result is None else {"result": result})


def test_payloads_that_no_reader_takes_are_refused() -> None:
    """Too large, too deep or not JSON is the caller's error, not a result that silently vanishes."""
    with pytest.raises(EventTooLarge):
        codec.end("w", 1, result="x" * limits.MAX_PAYLOAD_JSON_BYTES)
    with pytest.raises(ValueError, match="JSON"):
        codec.end("w", 1, result=float("nan"))
    deep: object = 1
    for _ in range(limits.MAX_PAYLOAD_DEPTH):
        deep = [deep]
    with pytest.raises(ValueError, match="levels"):
        codec.end("w", 1, result=deep)
    with pytest.raises(TypeError):
        codec.end("w", 1, result={1, 2})
