"""Liveness and readiness, the same on both ports."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from holdfast_gateway.web.openapi import problem_responses
from holdfast_gateway.web.parts import Parts
from holdfast_gateway.web.problems import BROKER_UNAVAILABLE, DRAINING, Problem


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """New viewers may come."""

    ready: Literal[True] = True
    viewers: int
    sessions: int


def router(parts: Parts) -> APIRouter:
    """`/healthz`: the process lives. `/readyz`: the broker answers, and the gateway is not draining."""
    routes = APIRouter(tags=["health"])
    release = version("holdfast")

    @routes.get("/healthz", summary="Whether the process answers")
    async def healthz() -> Health:
        return Health(version=release)

    @routes.get(
        "/readyz",
        summary="Whether new viewers may come",
        responses=problem_responses(DRAINING, BROKER_UNAVAILABLE),
    )
    async def readyz() -> Readiness:
        if parts.hub.draining:
            raise Problem(DRAINING, retry_after_seconds=1)
        if not parts.source.ready:
            raise Problem(BROKER_UNAVAILABLE, retry_after_seconds=1)
        return Readiness(viewers=parts.hub.viewers, sessions=parts.hub.sessions)

    return routes
