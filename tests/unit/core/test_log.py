"""The ring: places survive eviction, joins are shared, both bounds hold."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from holdfast_gateway.core.log import ENTRY_OVERHEAD_BYTES, MAX_JOINS, ORIGIN, Mark, RingBudget, SessionLog
from holdfast_gateway.core.sse import Encoded

BIG = 1 << 40


def filled(count: int, *, limit: int = BIG, budget: RingBudget | None = None, size: int = 10) -> SessionLog:
    log = SessionLog(limit, budget or RingBudget(BIG))
    for n in range(1, count + 1):
        log.append(n * 10, Encoded(b"%d" % (n % 10) * size, ()))
    return log


def test_l2_a_place_is_found_by_sequence_also_between_entries() -> None:
    log = filled(5)
    assert log.place(0) is ORIGIN
    assert [m.sequence for s in (9, 10, 25, 50, 99) if (m := log.place(s))] == [0, 10, 20, 50, 50]


def test_l2_a_place_before_the_ring_is_not_invented() -> None:
    log = filled(5)
    log.evict_oldest()
    log.evict_oldest()
    assert log.place(19) is None
    assert not log.covers(19)
    assert log.place(20) is log.before
    assert log.covers(20)
    assert log.since(ORIGIN) is None
    assert log.entry(Mark(0, 10, 0, False)) is None
    assert log.since(log.before) is not None


def test_l3_everything_new_is_one_piece_shared_by_all_who_stand_there() -> None:
    log = filled(3)
    mark = log.place(10)
    assert mark is not None
    first, end = log.since(mark) or (None, None)
    again, _ = log.since(mark) or (None, None)
    assert first is again
    assert first is not None
    assert first.data == b"2" * 10 + b"3" * 10
    assert end is log.tail
    log.append(40, Encoded(b"4", ()))
    assert log.since(mark)[0].data.endswith(b"4")  # type: ignore[index]


def test_l3_a_piece_is_bounded_and_leads_to_the_next() -> None:
    log = filled(10)
    place, data = ORIGIN, b""
    while place is not log.tail:
        made = log.since(place, limit_bytes=25)
        assert made is not None
        assert len(made[0].data) <= 30
        data += made[0].data
        place = made[1]
    assert data == b"".join(b"%d" % (n % 10) * 10 for n in range(1, 11))


def test_joins_are_bounded() -> None:
    log = filled(MAX_JOINS + 10)
    for n in range(MAX_JOINS + 9):
        mark = log.place(n * 10)
        assert mark is not None
        assert log.since(mark) is not None
    assert len(log._joins) <= MAX_JOINS


def test_entries_are_found_whole() -> None:
    log = SessionLog(BIG, RingBudget(BIG))
    encoded = Encoded(b"abc", (1, 2))
    assert log.entry(log.append(3, encoded)) == encoded
    assert log.entry(ORIGIN) is None


def test_following_names_the_next_entry() -> None:
    log = filled(3)
    assert [log.following(s) for s in (0, 10, 29, 30, 50)] == [10, 20, 30, 31, 51]


def test_l4_the_session_bound_holds_but_for_one_entry() -> None:
    log = filled(50, limit=5 * (10 + ENTRY_OVERHEAD_BYTES))
    assert len(log) == 5
    log.append(999, Encoded(b"x" * 100_000, ()))
    assert len(log) == 1
    assert log.tail.sequence == 999


def test_l4_the_pod_bound_takes_from_the_session_written_to_longest_ago() -> None:
    budget = RingBudget(10 * (10 + ENTRY_OVERHEAD_BYTES))
    old, new = filled(6, budget=budget), filled(4, budget=budget)
    assert (len(old), len(new)) == (6, 4)
    new.append(50, Encoded(b"5" * 10, ()))
    assert (len(old), len(new)) == (5, 5)
    for n in range(6, 30):
        new.append(n * 10, Encoded(b"6" * 10, ()))
    assert (len(old), len(new)) == (0, 10)
    assert budget.size_bytes <= budget.limit_bytes
    old.append(500, Encoded(b"7" * 10, ()))
    assert (len(old), len(new)) == (1, 9)


def test_l4_one_entry_above_the_pod_bound_is_kept() -> None:
    budget = RingBudget(10)
    log = filled(3, budget=budget)
    assert len(log) == 1


def test_clear_gives_everything_back_and_keeps_places() -> None:
    budget = RingBudget(BIG)
    log = filled(5, budget=budget)
    log.since(ORIGIN)
    log.clear()
    assert (len(log), log.size_bytes, budget.size_bytes) == (0, 0, 0)
    assert log.before is log.tail
    assert log.place(50) is log.tail
    log.append(60, Encoded(b"6", ()))
    assert log.since(log.before)[0].data == b"6"  # type: ignore[index]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 40))
def test_whatever_is_evicted_the_rest_reads_the_same(evictions: list[int], each: int) -> None:
    log, written = SessionLog(BIG, RingBudget(BIG)), b""
    for n, evict in enumerate(evictions):
        for k in range(each):
            data = b"<%d.%d>" % (n, k)
            written += data
            log.append(n * each + k + 1, Encoded(data, ()))
        for _ in range(min(evict * each, len(log) - 1)):
            log.evict_oldest()
        data, place = b"", log.before
        while place is not log.tail:
            made = log.since(place, 50)
            assert made is not None
            data, place = data + made[0].data, made[1]
        assert written.endswith(data)
        assert len(data) + log.before.total_bytes == len(written)


def test_lists_are_compacted_behind_a_long_life() -> None:
    log = filled(10_000, limit=20 * (10 + ENTRY_OVERHEAD_BYTES))
    assert len(log._marks) < 3_000
    assert log.place(99_990) is not None
    assert log.since(log.before) is not None
