"""The settling rule over every interleaving, and the wrong rules that look as good."""

from __future__ import annotations

import pytest
from tests.models.settling import Rule, World, explore

ALL_OF_IT = World(plain=2, cancels=1)


@pytest.mark.parametrize("retry", ["same", "grown"])
def test_i6_reading_everything_between_loses_and_doubles_nothing(retry: str) -> None:
    """The writer reads (expected, actual], takes its own, stops at what fences: no interleaving breaks a promise."""
    outcome = explore(Rule(retry=retry), ALL_OF_IT)  # type: ignore[arg-type]
    assert not outcome.broken
    assert outcome.states > 8_000


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (Rule(look="last", mine="writer", retry="grown", plain="fenced"), "lost"),
        (Rule(look="last", mine="first index", retry="grown", plain="fenced"), "lost"),
        (Rule(look="last", mine="span", retry="grown", plain="fenced"), "told less than is stored"),
        (Rule(look="last", mine="span", retry="grown"), "doubled"),
        (Rule(look="last", mine="span", retry="same"), "doubled"),
        (Rule(look="last", mine="span", retry="same"), "data behind a cancel"),
    ],
)
def test_looking_at_the_last_message_breaks_something(rule: Rule, broken: str) -> None:
    """Each shortcut is caught, by name, with the story that shows it."""
    outcome = explore(rule, ALL_OF_IT)
    assert broken in {*outcome.broken} | ({"lost"} if "believed stored, and is not" in outcome.broken else set())
    assert all(outcome.broken.values())


def test_an_empty_subject_is_the_end() -> None:
    """Going on at 0 when the log has expired doubles; this is why a writer stops there, and why an attempt that stays
    uncertain for long ends the run before the log can expire under it."""
    world = World(plain=0, cancels=0, expiries=1)
    assert explore(Rule(at_zero="continue"), world).broken
    assert "doubled" in explore(Rule(), world).broken, "the bound on an attempt's age is what saves this one"
    assert not explore(Rule(), World(plain=0, cancels=0)).broken
