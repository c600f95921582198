"""The three routes by which the harness has an application produce its events itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter

from bench.publish.schedule import Emit, Plan, produce

Settle = Callable[[], Awaitable[None]]


def routes(opened: Callable[[Plan, int], Awaitable[Emit]], settle: Settle, closed: Settle) -> APIRouter:
    """Return ``/produce/open``, ``/produce/run`` and ``/produce/close``.

    ``opened(plan, first)`` makes ready for the plan's sessions, numbered from ``first`` on, and returns what takes an
    event of the plan's n-th session.
    """
    router = APIRouter()
    state: dict[str, Any] = {}

    @router.post("/produce/open")
    async def open_(body: dict[str, Any]) -> dict[str, Any]:
        state["plan"] = Plan(**body["plan"])
        state["emit"] = await opened(state["plan"], int(body["first"]))
        return {}

    @router.post("/produce/run")
    async def run(body: dict[str, Any]) -> dict[str, Any]:
        plan: Plan = state["plan"]
        late = await produce(plan, state["emit"], start_us=int(body["start_us"]))
        accepted = plan.total
        try:
            async with asyncio.timeout(float(body["patience_seconds"])):
                await settle()
        except TimeoutError:
            accepted = 0  # not all, and how many the application cannot tell
        return {"accepted": accepted, "late_seconds": late.worst_seconds}

    @router.post("/produce/close")
    async def close() -> dict[str, Any]:
        await closed()
        return {}

    return router
