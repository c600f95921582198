"""When a server is left that answers and is of no use."""

from __future__ import annotations

from holdfast_gateway.broker.jetstream.doubts import BLIND_ROUNDS, MUTE_SECONDS, REST_SECONDS, Doubts


def test_a_cluster_that_says_nothing_is_left_after_longer_than_an_election() -> None:
    doubts = Doubts()
    assert not doubts.looked(False, 100.0)
    assert doubts.mute
    for seconds in (3, 6, MUTE_SECONDS - 0.1):
        assert not doubts.looked(False, 100.0 + seconds)
    assert doubts.looked(False, 100.0 + MUTE_SECONDS)


def test_a_process_that_was_stopped_itself_blames_nobody() -> None:
    """One look took a minute because nothing of ours ran meanwhile."""
    doubts = Doubts()
    assert not doubts.looked(False, 100.0)
    assert not doubts.looked(False, 160.0)
    assert not doubts.looked(True, 160.5)


def test_one_answer_ends_the_doubt() -> None:
    doubts = Doubts()
    doubts.looked(False, 0.0)
    assert not doubts.looked(True, MUTE_SECONDS - 1)
    assert not doubts.mute
    assert not doubts.looked(False, MUTE_SECONDS + 1)


def test_moves_are_apart() -> None:
    doubts = Doubts()
    doubts.looked(False, 0.0)
    moves = [t for t in range(1, 101) if doubts.looked(False, float(t))]
    assert moves == [10, 40, 70, 100]
    assert REST_SECONDS == 30


def test_a_connection_on_which_nothing_arrives_while_messages_are_stored_is_left() -> None:
    doubts = Doubts()
    assert [doubts.swept(0, 2) for _ in range(BLIND_ROUNDS)] == [False] * (BLIND_ROUNDS - 1) + [True]
    assert not doubts.swept(0, 2), "and counts anew"


def test_silence_is_no_sign_and_anything_heard_is_enough() -> None:
    doubts = Doubts()
    for heard, found in [(0, 1), (0, 0), (0, 1), (1, 5), (0, 1), (0, 0), (0, 1)]:
        assert not doubts.swept(heard, found)
    assert doubts.swept(0, 1)
