"""The rule that closes dead producers' runs: it kills nobody who is well, and the simpler rules do."""

from __future__ import annotations

import pytest
from tests.models.lease import GRACE, HINT_LOST_AFTER, LEADER_LIES_FOR, LEASE, RuleName, live

WORLDS = 300


def killed(rule: RuleName, **how: object) -> list[int]:
    """Seeds of the worlds in which an innocent writer's run was closed."""
    return [seed for seed in range(WORLDS) if live(rule, seed, **how).innocent]  # type: ignore[arg-type]


@pytest.mark.parametrize("hints", [False, True])
def test_i7_lease_and_challenge_close_no_healthy_run(hints: bool) -> None:
    """Renewals in the log, a challenge there, and clocks that any trouble restarts: none killed, also when wrong hints
    bring the challenge early and a deposed leader lies for ten seconds."""
    assert killed("lease and challenge", hints=hints) == []


@pytest.mark.parametrize("rule", ["core heartbeats", "core heartbeats and a request", "lease alone"])
def test_simpler_rules_kill_healthy_runs(rule: RuleName) -> None:
    """Heartbeats are no evidence of death, nor is a probe over core NATS, nor a lease without the challenge."""
    assert len(killed(rule)) > WORLDS // 20


def test_the_grace_must_outlast_the_next_renewal_and_a_deposed_leader() -> None:
    """A short grace kills writers that a wrong hint brought under suspicion: before their next renewal, or while a
    leader without its quorum still answers (world 2612)."""
    assert GRACE > LEADER_LIES_FOR + 2
    assert any(live("lease and challenge", seed, hints=True, grace=2).innocent for seed in range(20))
    assert live("lease and challenge", 2612, hints=True, grace=4).innocent
    assert not live("lease and challenge", 2612, hints=True).innocent


def test_i7_a_dead_producers_run_is_told_and_closed_in_bounded_time() -> None:
    """Told within the lease, closed within lease and grace, at 1 s steps; with hints, told within 10 s."""
    for seed in range(200):
        alone = live("lease and challenge", seed, faults=False, dies=True)
        assert alone.told_at is not None
        assert alone.closed_at is not None
        assert alone.told_at - alone.died_at <= LEASE + 1
        assert alone.closed_at - alone.died_at <= LEASE + GRACE + 2
        hinted = live("lease and challenge", seed, faults=False, dies=True, hints=True)
        assert hinted.told_at is not None
        assert hinted.told_at - hinted.died_at <= HINT_LOST_AFTER + 4
