"""The session writer against a model log and the worst network: nothing lost, doubled, reordered, or past a fence."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.actions import Look, Send, Settings, Sleep
from holdfast.answer import unknown
from holdfast.errors import HoldfastError, SessionCancelled, SessionExpired, SessionFenced
from holdfast.wire import Draft, Event, Kind, codec, event, fences
from holdfast.writer import SessionWriter
from tests.unit.sdk.log_model import SubjectLog

ME, OTHER = "me-1", "other-1"


class World:
    """Appends may be delayed past any number of retries, acks lost, replicas stale, and others write in between.

    `chaos` weighs what happens at each step; the schedule itself is drawn from one seeded generator.
    """

    def __init__(
        self, rng: random.Random, *, name: str | None, before: int, cancelled: bool, honest_start: bool
    ) -> None:
        self.rng = rng
        self.log = SubjectLog()
        self.now = 100.0
        self.in_flight: list[Send] = []  # sent, and not yet arrived
        self.out: Send | Look | None = None
        self.written: list[str] = []
        self.ended = False
        self.expired = False
        for i in range(before):
            self.log.append(codec.data([event(f"old{i}")]))
        if cancelled:
            self.log.append(codec.cancelled("r1"))
        self.w = SessionWriter("s", ME, Settings(name=name, give_up_seconds=1e9))
        if honest_start:
            self.settle(10)

    # ---- one step of anybody

    def write(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            text = f"c{len(self.written)}"
            try:
                self.w.write(event(text, "delta" if len(self.written) % 3 else "message"))
            except HoldfastError:
                return
            self.written.append(text)

    def end(self) -> None:
        try:
            self.w.end({"tokens": 1})
        except HoldfastError:
            return
        self.ended = True

    def step(self) -> None:
        self.now += self.rng.choice((0.0, 0.03, 0.03, 1.5, 11.0))
        if self.out is None:
            action = self.w.next(self.now)
            if isinstance(action, Send):
                self.in_flight.append(action)
            self.out = None if isinstance(action, Sleep) else action

    def network(self) -> None:
        """Whatever is out gets further, or is given up by its sender."""
        rng = self.rng
        if isinstance(self.out, Look):
            look, self.out = self.out, None
            if rng.random() < 0.2:
                self.w.look_failed(self.now)
            else:
                behind = rng.choice((0, 0, 0, 1, 3))
                visible = max(0, len(self.log.records) - behind)
                self.w.looked(*self.log.page(look.after, rng.randint(1, 4), visible), self.now)
        elif self.in_flight and rng.random() < 0.7:
            sent = self.in_flight.pop(rng.choice((0, -1)))
            answer = self.log.append(sent.draft, sent.expected)
            if sent is self.out and rng.random() < 0.7:
                self.out = None
                self.w.answered(answer, self.now)
            elif sent is not self.out and rng.random() < 0.5:
                self.w.answered_late(sent, answer, self.now)
        elif self.out is not None:
            self.out = None
            self.w.answered(unknown(rng.choice(("timed out", "10164", "503"))), self.now)

    def outsider(self) -> None:
        run = self.w.run or 1
        self.log.append(self.rng.choice((codec.data([Event(b"plain")]), codec.lost(run), codec.cancelled(1))))

    def rival(self) -> None:
        run = self.w.run or 1
        drafts: tuple[Draft, ...] = (
            codec.cancelled(run),
            codec.cancelled("r1"),
            codec.takeover(OTHER, run),
            codec.start(OTHER),
            codec.failed(None, run, "producer_lost"),
            codec.erased(),
        )
        self.log.append(self.rng.choice(drafts))

    def expire(self) -> None:
        """Retention takes everything, outside the life of an attempt."""
        if not self.in_flight and self.w.opened:
            self.expired = True
            self.log.expire()

    def settle(self, steps: int = 500) -> None:
        """An honest network."""
        for _ in range(steps):
            action = self.out if self.out is not None else self.w.next(self.now)
            self.out = None
            if isinstance(action, Send):
                self.w.answered(self.log.append(action.draft, action.expected), self.now)
            elif isinstance(action, Look):
                self.w.looked(*self.log.page(action.after, 2), self.now)
            elif self.w.error is not None or self.w.closed:
                return
            self.now += 0.03

    # ---- what must hold

    def check(self) -> None:
        run, index, fenced = 0, 0, False
        texts: list[str] = []
        for r in self.log.records:
            if r.writer == ME:
                assert not fenced, f"{r} was written after the fence"
                if r.kind is Kind.START:
                    assert not run, "two starts"
                    run = r.sequence
                elif r.kind is Kind.DATA and not self.expired:
                    assert r.first_index == index
                    index += len(r.events)
                    texts += [e.text for e in r.events]
            elif run and fences(r, ME, run, self.w.settings.name):
                fenced = True
        if not self.expired:
            assert texts == self.written[: len(texts)]
            assert self.w.stored_events <= len(texts), "believes more than is true"

    def finish(self) -> None:
        """All that was written is stored, or an error says exactly how much is."""
        if isinstance(self.out, Send):
            self.out = None
            self.w.answered(unknown("timed out"), self.now)
        self.settle()
        if self.expired:  # believed only after 15 s
            self.now += 16.0
            self.settle()
        tail = len(self.log.records)
        for sent in self.in_flight:  # the network coughs up what it had kept
            self.log.append(sent.draft, sent.expected)
        error = self.w.error
        if self.expired:
            assert error is None or isinstance(error, (SessionExpired, SessionFenced, SessionCancelled))
            assert not self.log.records or self.log.records[0].writer != ME, "an expired session rose again"
            assert error is not None or self.w.closed or self.log.records, "went on at 0"
            return
        assert len(self.log.records) == tail, "an append of a settled writer landed"
        self.check()
        stored = self.log.texts(ME)
        assert self.w.stored_events == len(stored)
        if error is None:
            assert stored == self.written
            assert self.w.closed == self.ended
        else:
            assert isinstance(error, (SessionFenced, SessionCancelled)), error
            late = [r for r in self.log.records if r.sequence > error.sequence and r.writer == ME]
            assert late == []


@settings(max_examples=600, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from([None, "r1"]),
    before=st.integers(0, 2),
    cancelled=st.sampled_from([False, False, False, True]),
    honest_start=st.sampled_from([True, True, False]),
    rivals=st.sampled_from([0, 0, 1, 3]),
    expires=st.sampled_from([False, False, False, True]),
)
@example(seed=0, name=None, before=0, cancelled=False, honest_start=True, rivals=0, expires=False)
def test_i_any_schedule(
    seed: int, name: str | None, before: int, cancelled: bool, honest_start: bool, rivals: int, expires: bool
) -> None:
    """For any schedule the writer's events stand in the log once each, in order, and nothing of it behind a fence."""
    rng = random.Random(seed)
    world = World(rng, name=name, before=before, cancelled=cancelled, honest_start=honest_start)
    acts = [world.write] * 3 + [world.step] * 8 + [world.network] * 8 + [world.outsider]
    for _ in range(rng.randint(5, 80)):
        rng.choice(acts)()
        if rivals and rng.random() < 0.03 * rivals:
            world.rival()
        if rng.random() < 0.02:
            world.w.poke()
        if expires and rng.random() < 0.05:
            world.expire()
        world.check()
    if rng.random() < 0.7:
        world.end()
    world.finish()
