"""Settling an uncertain append: every interleaving of a small world.

The world: one writer with a few chunks to store, one append in flight at a time, each expecting the sequence that the
writer last knew. The network may deliver an attempt late, again, or after the writer gave up waiting, and may lose the
answer. Others may store a plain message or a cancel at any moment; the whole log may expire. `explore` visits every
reachable state and says which promises a rule breaks, each with the shortest story that leads there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True)
class Rule:
    """What a writer does with a refusal that names the subject's real last sequence.

    `look`: at everything between the expected and the actual one, or at the last message only. `mine`: by what a
    message found there is taken for the attempt in flight (last message only). `retry`: whether a repeated attempt is
    the same bytes or takes in what has come meanwhile. `at_zero`: what to make of an empty subject.
    """

    look: Literal["between", "last"] = "between"
    mine: Literal["writer", "first index", "span"] = "span"
    retry: Literal["same", "grown"] = "same"
    plain: Literal["read past", "fenced"] = "read past"
    at_zero: Literal["expired", "continue"] = "expired"


@dataclass(frozen=True)
class World:
    """How much may happen."""

    chunks: int = 3
    attempts: int = 4
    plain: int = 1
    cancels: int = 1
    expiries: int = 0


Span = tuple[int, int]


class Stored(NamedTuple):
    sequence: int
    what: Literal["data", "plain", "cancel"]
    span: Span = (0, 0)


class Attempt(NamedTuple):
    expected: int
    span: Span


class Writer(NamedTuple):
    next_chunk: int = 1
    expected: int = 0
    in_flight: Span | None = None
    arrived: int = 1
    over: str = ""


class State(NamedTuple):
    log: tuple[Stored, ...] = ()
    kept_from: int = 0
    next_sequence: int = 1
    writer: Writer = Writer()
    network: tuple[Attempt, ...] = ()
    attempts: int = 0
    plain: int = 0
    cancels: int = 0
    expiries: int = 0

    @property
    def kept(self) -> tuple[Stored, ...]:
        return self.log[self.kept_from :]

    @property
    def last(self) -> int:
        return self.log[-1].sequence if len(self.log) > self.kept_from else 0

    def store(self, what: Literal["data", "plain", "cancel"], span: Span = (0, 0)) -> State:
        log = (*self.log, Stored(self.next_sequence, what, span))
        return self._replace(log=log, next_sequence=self.next_sequence + 1)


class Outcome(NamedTuple):
    """States visited, and for each broken promise the steps that break it."""

    states: int
    broken: dict[str, tuple[str, ...]]


def explore(rule: Rule, world: World = World()) -> Outcome:
    """Visit every reachable state, breadth first. A state with a broken promise is not gone beyond."""
    start = State()
    seen, queue = {start}, deque([(start, ())])
    broken: dict[str, tuple[str, ...]] = {}
    while queue:
        state, steps = queue.popleft()
        for label, after in _successors(state, rule, world):
            if after in seen:
                continue
            seen.add(after)
            trail: tuple[str, ...] = (*steps, label)
            wrong = _broken(after)
            if wrong:
                broken.setdefault(wrong, trail)
            else:
                queue.append((after, trail))  # type: ignore[arg-type]
    return Outcome(len(seen), broken)


def _successors(state: State, rule: Rule, world: World) -> list[tuple[str, State]]:
    out: list[tuple[str, State]] = []
    w = state.writer
    if not w.over and w.arrived < world.chunks:
        out.append(("a chunk arrives", state._replace(writer=w._replace(arrived=w.arrived + 1))))
    if not w.over and state.attempts < world.attempts:
        span = w.in_flight
        if span is None and w.next_chunk <= w.arrived:
            span = (w.next_chunk, w.arrived)
        elif span is not None and rule.retry == "grown":
            span = (span[0], w.arrived)
        if span is not None:
            sent = (*state.network, Attempt(w.expected, span))
            after = state._replace(writer=w._replace(in_flight=span), network=sent, attempts=state.attempts + 1)
            out.append((f"send {span} expecting {w.expected}", after))
    for at, attempt in enumerate(state.network):
        left = state._replace(network=state.network[:at] + state.network[at + 1 :])
        heard = not w.over and w.in_flight == attempt.span and w.expected == attempt.expected
        if attempt.expected == state.last:
            stored = left.store("data", attempt.span)
            out.append((f"{attempt.span} is stored, the answer is lost", stored))
            if heard:
                done = w._replace(next_chunk=attempt.span[1] + 1, expected=stored.last, in_flight=None)
                out.append((f"{attempt.span} is stored and acknowledged", stored._replace(writer=done)))
        else:
            out.append((f"{attempt.span} is refused, the answer is lost", left))
            if heard:
                out.append((f"{attempt.span} is refused: {state.last}", left._replace(writer=settle(rule, state))))
    if state.plain < world.plain:
        out.append(("a plain message", state.store("plain")._replace(plain=state.plain + 1)))
    if state.cancels < world.cancels:
        out.append(("a cancel", state.store("cancel")._replace(cancels=state.cancels + 1)))
    if state.expiries < world.expiries and state.last:
        out.append(("everything expires", state._replace(kept_from=len(state.log), expiries=state.expiries + 1)))
    return out


def settle(rule: Rule, state: State) -> Writer:
    """What the writer believes after a refusal."""
    w = state.writer._replace(in_flight=None)
    sent = state.writer.in_flight
    assert sent is not None
    if not state.last:
        return w._replace(expected=0) if rule.at_zero == "continue" else w._replace(over="expired")
    if rule.look == "between":
        for message in state.kept:
            if message.sequence <= state.writer.expected:
                continue
            if message.what == "cancel":
                return w._replace(over="cancelled")
            w = w._replace(expected=message.sequence)
            if message.what == "data":
                w = w._replace(next_chunk=message.span[1] + 1)
        return w
    last = state.kept[-1]
    if last.what == "cancel" or (last.what == "plain" and rule.plain == "fenced"):
        return w._replace(over="fenced")
    if last.what == "plain":
        return w._replace(expected=last.sequence)
    if rule.mine == "writer" or (rule.mine == "first index" and last.span[0] == sent[0]):
        return w._replace(next_chunk=sent[1] + 1, expected=last.sequence)
    if rule.mine == "span" and last.span[0] == sent[0]:
        return w._replace(next_chunk=last.span[1] + 1, expected=last.sequence)
    return w._replace(over="fenced")


def _broken(state: State) -> str:
    """The promise this state breaks, if any."""
    chunks: list[int] = []
    cancelled = False
    for message in state.log:
        cancelled = cancelled or message.what == "cancel"
        if message.what == "data":
            if cancelled:
                return "data behind a cancel"
            chunks += range(message.span[0], message.span[1] + 1)
    if len(set(chunks)) < len(chunks):
        return "doubled"
    if chunks != list(range(1, len(chunks) + 1)):
        return "lost"
    w = state.writer
    if not w.over and w.next_chunk - 1 > len(chunks):
        return "believed stored, and is not"
    if w.over == "fenced" and w.next_chunk - 1 < len(chunks):
        return "told less than is stored"
    return ""
