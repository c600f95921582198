"""Defects that the fault runs found, each with the test that would have found it sooner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import BrokerUnavailable, NotProvisioned, requests
from holdfast.answer import Answer, Verdict
from holdfast.jetstream import JetStreamLog
from holdfast.wire import Phase, RunState
from holdfast_gateway.broker.jetstream.streams import NotServable, patiently
from holdfast_gateway.core.judge import Judge, Probe, Rule, Step, StoreFailed, StoreLost
from holdfast_gateway.ports import SourceUnavailable

LEASE, GRACE = 3.0, 12.0


@pytest.mark.parametrize("answer", [Judge.refused, Judge.stored])
@pytest.mark.parametrize("feed_first", [True, False])
def test_an_answer_that_comes_after_the_lost_record_does_not_hold_up_the_grace(
    answer: Callable[[Judge, float], None], feed_first: bool
) -> None:
    """Two pods stored `lost` at once; the one that was refused after its feed had told began its grace 5 s late."""
    judge = Judge(Rule(grace_seconds=GRACE), 0.0)
    state = RunState(phase=Phase.OPEN, run=5, writer="w", lease_seconds=LEASE)
    judge.saw(7, 0.0)
    now, step = 0.0, None
    while step is None:
        now += 0.25
        step = judge.tick(now, state, None, True)
    assert step == StoreLost(5, 7)
    inputs = [lambda: judge.saw(8, now), lambda: answer(judge, now)]
    for happens in inputs if feed_first else reversed(inputs):
        happens()
    told, closing = now, _until_closing(judge, RunState(Phase.OPEN, 5, "w", lease_seconds=LEASE, lost=True), now)
    assert closing[0] == StoreFailed(5, "producer_lost", 8)
    assert closing[1] - told < GRACE + 2.0


def _until_closing(judge: Judge, lost: RunState, now: float) -> tuple[Step, float]:
    """Tick four times a second, every probe answered well at once, until the run is to be closed."""
    while True:
        now += 0.25
        step = judge.tick(now, lost, None, True)
        if isinstance(step, Probe):
            judge.probed(True, judge.tail, now)
        elif step is not None:
            return step, now


class Silent:
    """A cluster that says nothing at first, then answers; or an operator's mistake."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "streams"


async def test_a_gateway_started_during_an_election_waits_for_it() -> None:
    """A pod that came back while the cluster had no meta leader gave up after one unanswered request."""
    cluster = Silent(SourceUnavailable("no answer"), SourceUnavailable("no answer"))
    assert await patiently(cluster.ask, 60.0, pause_seconds=0.0) == "streams"
    assert cluster.asked == 3


async def test_a_silent_cluster_is_given_up_and_a_wrong_one_at_once() -> None:
    silent = Silent(SourceUnavailable("no answer"), SourceUnavailable("still none"))
    with pytest.raises(SourceUnavailable, match="no answer"):
        await patiently(silent.ask, 0.0)
    wrong = Silent(NotServable("there are no streams"))
    with pytest.raises(NotServable):
        await patiently(wrong.ask, 60.0)
    assert (silent.asked, wrong.asked) == (1, 1)


class Deaf:
    """A connection that takes everything; what comes back is said by the test."""

    received_at = 0.0
    last_error = ""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self.received: Any = None

    def new_inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, subject: str, received: Any) -> None:
        self.received = received

    def send(self, subject: str, reply: str, headers: bytes, body: bytes) -> bool:
        self.replies.append(reply)
        return True

    def suspect(self) -> None:
        """Nothing to probe."""


class Appends:
    """`Requests` over a deaf connection, with a clock that the test moves and sweeps that it makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(requests.time, "monotonic", lambda: self.now)
        self.connection = Deaf()
        self.requests = requests.Requests(self.connection)  # type: ignore[arg-type]
        self.answers: list[Answer] = []

    async def append(self) -> None:
        await self.requests.open()
        self.requests.append("hf.0.default.s", b"", b"x", self.answers.append)

    def after(self, seconds: float) -> list[Answer]:
        self.now += seconds
        self.requests._sweep_acks()
        return self.answers

    def ack(self, number: int) -> None:
        self.connection.received(self.connection.replies[number], None, b'{"stream":"S","seq":7}')


async def test_an_append_lost_to_a_stepdown_is_repeated_well_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planned change stalled viewers for 1.1 s: the append that the old leader never answered waited a second."""
    appends = Appends(monkeypatch)
    await appends.append()
    assert appends.after(0.35) == []
    assert [answer.verdict for answer in appends.after(0.1)] == [Verdict.UNKNOWN]
    appends.requests.close()


async def test_while_nothing_is_answered_appends_are_repeated_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    appends = Appends(monkeypatch)
    for waited in (0.45, 0.45, 0.45, 1.05, 1.05):
        await appends.append()
        count = len(appends.answers)
        assert len(appends.after(waited - 0.1)) == count
        assert len(appends.after(0.1)) == count + 1
    await appends.append()
    appends.ack(-1)
    assert appends.requests.patience_seconds == requests.FIRST_TIMEOUT_SECONDS
    appends.requests.close()


async def test_a_broker_that_is_only_slow_is_learnt_from_acks_that_come_too_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else every append to it would be sent twice for ever: an ack after its time-out was forgotten."""
    appends = Appends(monkeypatch)
    for number in range(20):
        await appends.append()
        appends.after(1.2)
        appends.ack(number)
    await asyncio.sleep(0)
    assert appends.requests.patience_seconds > 1.2
    appends.requests.close()


class Listing:
    """A JetStream API that answers STREAM.LIST, as `Requests`; and the connection under it."""

    servers = ("nats://127.0.0.1:4222",)

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages = list(pages)
        self.asked: list[int] = []

    async def request(self, subject: str, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        self.asked.append(json.loads(body)["offset"])
        return 0, json.dumps(self.pages.pop(0)).encode()

    def lost(self) -> None:
        """Nothing is in flight."""


def stream(partition: int, partitions: int = 3) -> dict[str, Any]:
    metadata = {"holdfast_contract": "1", "holdfast_partitions": str(partitions)}
    return {"config": {"name": f"HOLDFAST_{partition}_i{partition}", "metadata": metadata, "max_age": int(600e9)}}


async def refreshed(*pages: dict[str, Any]) -> tuple[JetStreamLog, Listing]:
    listing = Listing(*pages)
    log = JetStreamLog(listing, listing, "hf")  # type: ignore[arg-type]
    await log.refresh()
    return log, listing


async def test_a_producer_that_connects_during_an_election_takes_the_leaderless_stream_by_its_name() -> None:
    """It was told that the streams are not provisioned: the API lists a stream without a leader as missing."""
    log, listing = await refreshed({"total": 3, "streams": [stream(0), stream(2)], "missing": ["HOLDFAST_1_i1"]})
    assert log.namespace.partitions == 3
    assert log._streams[1] == ("HOLDFAST_1_i1", "i1")
    assert listing.asked == [0]


async def test_when_no_stream_has_a_leader_the_broker_is_unavailable_and_not_unprovisioned() -> None:
    with pytest.raises(BrokerUnavailable, match="leader"):
        await refreshed({"total": 1, "streams": [], "missing": ["HOLDFAST_0_i0"]})
    with pytest.raises(NotProvisioned, match="partitions"):
        await refreshed({"total": 2, "streams": [stream(0), stream(2)]})
    with pytest.raises(NotProvisioned):
        await refreshed({"total": 0, "streams": None})


async def test_leaderless_streams_count_for_the_next_page() -> None:
    log, listing = await refreshed(
        {"total": 3, "streams": [stream(0)], "missing": ["HOLDFAST_1_i1"]}, {"total": 3, "streams": [stream(2)]}
    )
    assert (listing.asked, sorted(log._streams)) == ([0, 2], [0, 1, 2])
