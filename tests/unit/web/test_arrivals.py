"""A viewer that waits for its session does not keep the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from holdfast_gateway.settings import Settings
from holdfast_gateway.web.arrivals import Arrivals, TurnedAway
from tests.unit.web.conftest import Site


async def test_a_waiting_viewer_is_told_to_come_back_as_soon_as_the_gateway_leaves(
    make_site: Callable[..., object],
) -> None:
    arrivals = Arrivals()
    site: Site = await make_site(Settings(), arrivals=arrivals)  # type: ignore[misc]
    waiting = asyncio.ensure_future(site.client.get("/v1/sessions/nobody/events?wait=60"))
    for _ in range(1000):
        await asyncio.sleep(0)
        if arrivals._limits:
            break
    arrivals.turn_away()
    async with asyncio.timeout(2):
        answer = await waiting
        await site.hub.drain(0)
    assert answer.status_code == 200
    assert ": refused draining\nretry: " in answer.text
    assert not arrivals._limits


async def test_a_time_out_of_somebody_elses_is_left_alone() -> None:
    arrivals = Arrivals()
    with pytest.raises(TimeoutError):
        async with arrivals.arriving():
            raise TimeoutError
    arrivals.turn_away()
    with pytest.raises(TimeoutError):
        async with arrivals.arriving():
            raise TimeoutError


async def test_being_turned_away_reaches_into_nested_waits() -> None:
    arrivals = Arrivals()

    async def arrive() -> None:
        async with arrivals.arriving(), asyncio.timeout(60):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(arrive())
    await asyncio.sleep(0)
    arrivals.turn_away()
    with pytest.raises(TurnedAway):
        await task
