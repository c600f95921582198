"""The feed's order: each rule of `core/order.py` by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from holdfast.wire import Event, Kind, Record
from holdfast_gateway.core.order import (
    ASK_LEADER_AFTER,
    FIRST_RETRY_SECONDS,
    LAST_RETRY_SECONDS,
    PATIENCE,
    RECORD_OVERHEAD_BYTES,
    Need,
    Order,
)


class Seen:
    """A sink that writes down what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_records(self, records: Sequence[Record]) -> None:
        self.told += [record.sequence for record in records]

    def on_caught_up(self) -> None:
        self.told.append("caught up")

    def on_gap(self, earliest: int) -> None:
        self.told.append(("gap", earliest))


def rec(sequence: int, previous: int | None, body: bytes = b"x") -> Record:
    return Record(sequence, Kind.DATA, (Event(body),), previous=previous)


def opened(seen: Seen, after: int = 0, **kw: int) -> Order:
    order = Order(seen, after=after, **kw)
    assert order.need is Need.SUBSCRIBE
    order.subscribed()
    return order


def flowing(seen: Seen, last: int = 5) -> Order:
    """An order that has delivered `last` and is caught up."""
    order = opened(seen)
    order.page(0, [rec(last, 0)], 0)
    assert order.need is Need.NOTHING
    seen.told.clear()
    return order


def test_o1_subscribes_before_it_reads() -> None:
    """The first need is the subscription, then a page, then nothing."""
    seen = Seen()
    order = opened(seen)
    assert order.need is Need.PAGE
    assert order.start == 0
    order.page(0, [rec(3, 0), rec(7, 3)], 0)
    assert seen.told == [3, 7, "caught up"]
    assert order.need is Need.NOTHING


def test_o2_live_in_order_passes_through() -> None:
    seen = Seen()
    order = flowing(seen)
    order.live(rec(6, 5), 1)
    order.live(rec(9, 6), 1)
    assert seen.told == [6, 9]
    assert order.flowing


def test_o2_live_before_the_page_is_delivered_if_it_joins_up() -> None:
    """A live record whose predecessor is the place we are at needs no read; one that does not is held."""
    seen = Seen()
    order = opened(seen, after=4)
    order.live(rec(9, 6), 1)
    assert seen.told == []
    order.live(rec(6, 4), 1)
    assert seen.told == [6]
    order.page(4, [rec(4, 2), rec(6, 4)], 0)
    assert seen.told == [6, 9, "caught up"]


@pytest.mark.parametrize("previous", [None, 0, 6])
def test_o2_live_that_does_not_join_up_is_held_and_read(previous: int | None) -> None:
    """No back pointer, an emptied subject, or a hole: all lead to a read, none to a delivery."""
    seen = Seen()
    order = flowing(seen)
    order.live(rec(7, previous), 1)
    assert seen.told == []
    assert order.need is Need.PAGE
    assert order.start == 5


def test_o3_what_was_delivered_is_dropped() -> None:
    seen = Seen()
    order = flowing(seen)
    order.live(rec(5, 0), 1)
    order.live(rec(6, 5), 1)
    order.live(rec(6, 5), 1)
    assert seen.told == [6]


def test_o4_an_anchored_page_needs_no_confirmation() -> None:
    """A plain message has no stored pointer; the record we start at, still there, vouches for it."""
    seen = Seen()
    order = flowing(seen)
    order.live(rec(9, 7), 1)
    order.page(5, [rec(5, 0), rec(7, None), rec(9, None)], 0)
    assert seen.told == [7, 9]
    assert order.flowing


def test_o4_the_beginning_of_the_log_is_no_anchor_once_live_has_begun() -> None:
    """Asked from the start while the log was empty; meanwhile live gave 4, 5 was lost and trimmed with it."""
    seen = Seen()
    order = opened(seen)
    order.live(rec(4, 0), 1)
    order.page(0, [rec(6, None)], 0)
    assert seen.told == [4]
    assert (order.need, order.start) == (Need.PAGE, 4)


def test_o5_a_stale_page_is_repeated_with_backoff_until_the_hole_is_filled() -> None:
    seen = Seen()
    order = flowing(seen)
    order.live(rec(9, 7), 1)
    assert order.delay_seconds == 0
    order.page(5, [rec(5, 0)], 0)
    assert (order.need, order.delay_seconds) == (Need.PAGE, FIRST_RETRY_SECONDS)
    order.page(5, [rec(5, 0)], 0)
    assert order.delay_seconds == 2 * FIRST_RETRY_SECONDS
    order.page(5, [rec(5, 0), rec(7, 5)], 0)
    assert seen.told == [7, 9]
    assert (order.need, order.delay_seconds) == (Need.NOTHING, 0)


def test_o5_stale_reads_in_a_row_lead_to_the_leader() -> None:
    seen = Seen()
    order = flowing(seen)
    order.newest(8)
    for _ in range(ASK_LEADER_AFTER):
        assert order.need is Need.PAGE
        order.page(5, [rec(5, 0)], 0)
    assert order.need is Need.CONFIRM
    order.confirmed(5, True, rec(8, 5))
    assert seen.told == [8]


def test_o6_a_page_without_its_anchor_asks_the_leader() -> None:
    seen = Seen()
    order = flowing(seen)
    order.trouble()
    order.page(5, [rec(8, None)], 0)
    assert (seen.told, order.need) == ([], Need.CONFIRM)


def test_o6_stored_pointers_that_do_not_meet_ask_the_leader() -> None:
    """A damaged replica lacks a record in the middle; what comes before the hole is good."""
    seen = Seen()
    order = flowing(seen)
    order.trouble()
    order.page(5, [rec(5, 0), rec(6, 5), rec(9, 8)], 0)
    assert (seen.told, order.need) == ([6], Need.CONFIRM)
    order.confirmed(6, True, rec(8, 6))
    assert seen.told == [6, 8]
    order.page(8, [rec(8, 6), rec(9, 8)], 0)
    assert seen.told == [6, 8, 9]


@pytest.mark.parametrize(
    ("present", "pointer", "gap"),
    [
        (True, None, False),
        (True, 5, False),
        (True, 0, False),
        (True, 6, True),
        (False, 5, False),
        (False, None, True),
        (False, 0, True),
        (False, 6, True),
    ],
)
def test_o6_the_leaders_word_is_clean_or_a_gap(present: bool, pointer: int | None, gap: bool) -> None:
    """Clean if our record is still there and nothing is claimed between, or if the next one points at it."""
    seen = Seen()
    order = flowing(seen)
    order.trouble()
    order.page(5, [], 0)
    order.confirmed(5, present, rec(8, pointer))
    assert seen.told == ([("gap", 8), 8] if gap else [8])


def test_o6_a_clean_cursor_resumes_without_a_gap() -> None:
    """The record of the cursor is trimmed, but the first one left points at it."""
    seen = Seen()
    order = opened(seen, after=5)
    order.page(5, [rec(8, 5)], 0)
    assert seen.told == [8, "caught up"]


def test_o7_nothing_left_is_no_gap() -> None:
    seen = Seen()
    order = opened(seen, after=5)
    order.page(5, [], 0)
    order.confirmed(5, False, None)
    assert seen.told == ["caught up"]
    order.live(rec(9, 0), 1)
    assert seen.told == ["caught up"]
    order.page(5, [rec(9, None)], 0)
    order.confirmed(5, False, rec(9, None))
    assert seen.told == ["caught up", ("gap", 9), 9]


def test_o7_a_leader_that_knows_less_than_live_is_asked_again_and_given_up_in_the_end() -> None:
    seen = Seen()
    order = flowing(seen)
    order.live(rec(9, 8), 1)
    rounds = 0
    while order.need is not Need.NOTHING:
        rounds += 1
        assert rounds < 10 * PATIENCE
        if order.need is Need.PAGE:
            order.page(5, [rec(5, 0)], 0)
        else:
            order.confirmed(5, True, None)
    assert seen.told == []
    assert order.delay_seconds == 0
    assert rounds > PATIENCE


def test_o7_an_answer_about_the_past_is_ignored() -> None:
    seen = Seen()
    order = flowing(seen)
    order.trouble()
    order.page(5, [], 0)
    assert order.need is Need.CONFIRM
    order.live(rec(6, 5), 1)
    order.confirmed(5, False, rec(6, 5))
    assert seen.told == [6]
    assert order.need is Need.PAGE


def test_o8_held_records_are_bounded_and_read_again() -> None:
    seen = Seen()
    order = opened(seen, hold_bytes=3 * RECORD_OVERHEAD_BYTES)
    for sequence in range(2, 12):
        order.live(rec(sequence, sequence - 1), 100)
        assert order.held_bytes <= 3 * RECORD_OVERHEAD_BYTES
    order.page(0, [rec(1, 0), rec(2, 1)], 0)
    assert seen.told == [1, 2]
    assert order.need is Need.PAGE, "the newest known is 11, so this is not the end"
    order.page(2, [rec(s, s - 1) for s in range(2, 12)], 0)
    assert [t for t in seen.told if isinstance(t, int)] == list(range(1, 12))
    assert order.flowing


def test_o8_a_record_that_is_held_already_costs_nothing_again() -> None:
    """A leader that republishes what waits for a hole to be filled fills no memory."""
    seen = Seen()
    order = flowing(seen)
    order.live(rec(9, 7), 1)
    held = order.held_bytes
    order.live(rec(9, 7), 1)
    assert order.held_bytes == held > 0
    order.page(5, [rec(5, 0), rec(7, 5)], 0)
    assert seen.told == [7, 9]


def test_pages_go_on_while_more_is_pending() -> None:
    seen = Seen()
    order = opened(seen)
    order.page(0, [rec(1, 0), rec(2, 1)], 3)
    assert (order.need, order.start, order.delay_seconds) == (Need.PAGE, 2, 0)
    order.page(2, [rec(2, 1)], 3)
    assert order.delay_seconds > 0, "a page that brings nothing though more is pending must not spin"
    order.page(2, [rec(2, 1), rec(3, 2)], 0)
    assert seen.told == [1, 2, 3, "caught up"]


def test_caught_up_is_told_once() -> None:
    seen = Seen()
    order = flowing(seen)
    order.trouble()
    order.page(5, [rec(5, 0)], 0)
    assert seen.told == []


def test_a_tail_check_below_last_changes_nothing() -> None:
    seen = Seen()
    order = flowing(seen)
    order.newest(5)
    assert order.flowing
    order.newest(6)
    assert not order.flowing


def test_failures_back_off_to_a_bound() -> None:
    order = opened(Seen())
    for _ in range(50):
        order.failed()
    assert order.delay_seconds == LAST_RETRY_SECONDS
    order.trouble()
    assert order.delay_seconds == 0


class Closing(Seen):
    """A sink that closes the feed at the first thing it hears."""

    order: Order

    def on_records(self, records: Sequence[Record]) -> None:
        super().on_records(records)
        self.order.close()

    def on_gap(self, earliest: int) -> None:
        super().on_gap(earliest)
        self.order.close()


def test_nothing_is_told_after_close_even_from_within_the_sink() -> None:
    for act, told in [
        (lambda o: o.page(0, [rec(1, 0), rec(3, 2)], 0), [1]),
        (lambda o: (o.live(rec(9, 8), 1), o.page(0, [rec(8, 0)], 0)), [8]),
        (lambda o: (o.live(rec(1, 0), 1), o.live(rec(2, 1), 1)), [1]),
        (lambda o: o.confirmed(0, False, rec(4, 3)), [4]),
    ]:
        seen = Closing()
        order = seen.order = opened(seen)
        act(order)
        assert seen.told == told
        assert (order.need, order.held_bytes) == (Need.NOTHING, 0)
        order.page(0, [rec(20, 0)], 0)
        order.confirmed(order.last, True, rec(21, 20))
        order.newest(22)
        assert seen.told == told
        assert order.need is Need.NOTHING


def test_closing_at_a_gap_stops_before_the_record() -> None:
    seen = Closing()
    order = seen.order = opened(seen, after=5)
    order.page(5, [], 0)
    order.confirmed(5, False, rec(9, 0))
    assert seen.told == [("gap", 9)]


def test_closing_at_a_held_record_asks_for_nothing_more() -> None:
    class At5(Closing):
        def on_records(self, records: Sequence[Record]) -> None:
            Seen.on_records(self, records)
            if records[-1].sequence == 5:
                self.order.close()

    seen = At5()
    order = seen.order = opened(seen)
    order.live(rec(5, 3), 1)
    order.page(0, [rec(3, 0)], 1)
    assert seen.told == [3, 5]
    assert order.need is Need.NOTHING


def test_closing_within_a_drain_stops_there() -> None:
    seen = Closing()
    order = seen.order = opened(seen)
    order.live(rec(5, 3), 1)
    order.page(0, [rec(3, 0)], 0)
    assert seen.told == [3]
