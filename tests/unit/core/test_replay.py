"""Pages of the log for viewers before the ring."""

from __future__ import annotations

import pytest
from tests.unit.core.logs import Script, core
from tests.unit.runtime.clients import parse

from holdfast.wire import NEW, fold
from holdfast_gateway.core.log import ORIGIN
from holdfast_gateway.core.replay import Anchor, anchor, replay, rest_of


def script() -> Script:
    made = Script()
    made.start()
    made.say("a", "b")
    made.say("c")
    made.end()
    return made


@pytest.mark.parametrize(
    ("after", "first", "pointers", "verdict"),
    [
        (0, 2, True, Anchor.JOINED),
        (4, 1, True, Anchor.JOINED),  # the place itself comes first
        (4, 2, True, Anchor.JOINED),  # it does not, and the pointer says that nothing is missing
        (4, 3, True, Anchor.ASK),
        (4, 2, False, Anchor.ASK),
        (8, 3, True, Anchor.EMPTY),
        (4, 9, True, Anchor.EMPTY),
        (4, 1, False, Anchor.JOINED),
    ],
)
def test_r1_r2_a_page_joins_up_or_the_leader_is_asked(after: int, first: int, pointers: bool, verdict: Anchor) -> None:
    records = script().records[first if after else 0 :]
    if not pointers:
        records = [r._replace(previous=None) for r in records]
    assert anchor(after, records) is verdict


def test_r1_a_hole_right_behind_the_place_is_seen() -> None:
    records = script().records
    assert anchor(2, [records[0], records[2]]) is Anchor.HOLE


def test_the_replayed_bytes_are_the_rings() -> None:
    records = script().records
    session = core(*records)
    whole = session.log.since(ORIGIN)
    assert whole is not None
    assert replay("m1", NEW, 0, 99, records).data == whole[0].data
    first = replay("m1", NEW, 0, 99, records[:2])
    rest = replay("m1", fold(records[:2]), first.last, 99, records[1:])
    assert first.data + rest.data == whole[0].data


def test_r3_a_page_ends_where_the_fold_ends() -> None:
    made = replay("m1", NEW, 0, 4, script().records)
    assert made.last == 4
    assert [s.data for s in parse(made.data)[0]][-1] == "b"


def test_a_hole_within_a_page_ends_it() -> None:
    records = script().records
    made = replay("m1", NEW, 0, 99, [*records[:2], records[3]])
    assert (made.last, made.hole) == (4, True)


def test_void_records_move_the_place() -> None:
    records = script().records
    zombie = records[1]._replace(sequence=9, writer="zombie", previous=8)
    made = replay("m1", fold(records), 8, 99, [zombie])
    assert (made.data, made.last) == (b"", 9)


def test_the_rest_of_a_message_behind_an_item() -> None:
    records = script().records
    assert [s.id for s in parse(rest_of("m1", fold(records[:1]), records[1], 0))[0]] == ["m1-4"]


def test_a_viewer_that_misses_nothing_is_not_told_of_a_trimmed_beginning() -> None:
    records = script().records
    behind, begin = (parse(replay("m1", NEW, after, 99, records[1:]).data)[0] for after in (2, 0))
    assert (behind[0].event, begin[0].event) == ("message", "session.gap")
