"""Streams end when their time is up, and a viewer that left is not kept for it."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import weakref

import pytest

from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.web.lifetimes import Lifetimes


class Watched:
    """Remembers how it was closed."""

    def __init__(self) -> None:
        self.closed: CloseReason | None = None

    def close(self, reason: CloseReason) -> None:
        self.closed = reason


class Clock:
    """A loop's clock and timers, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, object, tuple[object, ...]]] = []
        self.cancelled = 0
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)
        monkeypatch.setattr(time, "time", lambda: self.now + 5_000_000)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object, *args: object) -> Clock:
        self.timers.append((when, callback, args))
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback, args in due:
            callback(*args)  # type: ignore[operator]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_ages_are_spread_by_a_tenth_and_nobody_is_forgotten(clock: Clock) -> None:
    lifetimes = Lifetimes(100, random.Random(1))
    viewers = [Watched() for _ in range(200)]
    for viewer in viewers:
        lifetimes.watch(viewer, None)  # type: ignore[arg-type]
    assert len(clock.timers) <= 22
    clock.move(89)
    assert not any(viewer.closed for viewer in viewers)
    clock.move(11)
    assert 40 < sum(viewer.closed is CloseReason.AGED for viewer in viewers) < 160
    clock.move(11)
    assert all(viewer.closed is CloseReason.AGED for viewer in viewers)


def test_a_grant_that_ends_sooner_ends_the_stream(clock: Clock) -> None:
    lifetimes = Lifetimes(100)
    soon, past, late = Watched(), Watched(), Watched()
    lifetimes.watch(soon, time.time() + 10)  # type: ignore[arg-type]
    lifetimes.watch(past, time.time() - 10)  # type: ignore[arg-type]
    lifetimes.watch(late, time.time() + 1000)  # type: ignore[arg-type]
    clock.move(1)
    assert past.closed is CloseReason.EXPIRED
    assert soon.closed is None
    clock.move(10)
    assert soon.closed is CloseReason.EXPIRED
    clock.move(110)
    assert late.closed is CloseReason.AGED


def test_without_bounds_there_is_no_timer(clock: Clock) -> None:
    lifetimes = Lifetimes(0)
    lifetimes.watch(Watched(), None)  # type: ignore[arg-type]
    assert not clock.timers


def test_a_viewer_that_left_is_not_kept(clock: Clock) -> None:
    lifetimes = Lifetimes(100)
    viewer = Watched()
    gone = weakref.ref(viewer)
    lifetimes.watch(viewer, None)  # type: ignore[arg-type]
    del viewer
    gc.collect()
    assert gone() is None
    clock.move(200)


def test_closing_it_ends_all_timers(clock: Clock) -> None:
    lifetimes = Lifetimes(100)
    viewer = Watched()
    lifetimes.watch(viewer, None)  # type: ignore[arg-type]
    lifetimes.close()
    assert clock.cancelled == 1
