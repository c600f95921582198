"""The application over the memory source, without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from holdfast.wire import Draft, SessionKey
from holdfast.wire import codec as w
from holdfast.wire.event import event
from holdfast.wire.subjects import TenantId
from holdfast_gateway.auth import Authenticator, NoAuthentication
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.observe.registry import Registry
from holdfast_gateway.ports import Appended
from holdfast_gateway.runtime.api import HubSettings
from holdfast_gateway.runtime.hub import Hub
from holdfast_gateway.settings import Settings
from holdfast_gateway.web.app import create_app

KEY = SessionKey.of("chat-42")


@dataclass
class Site:
    """A gateway's application and everything behind it."""

    source: MemorySource
    hub: Hub
    client: httpx.AsyncClient
    registry: Registry
    sequences: list[int] = field(default_factory=list)

    async def append(self, draft: Draft, key: SessionKey = KEY) -> int:
        result = await self.source.append(key, draft, None)
        assert isinstance(result, Appended)
        return result.sequence

    async def run(self, *texts: str, key: SessionKey = KEY, ended: bool = True, name: str | None = None) -> int:
        """A run of these texts; its number."""
        run = await self.append(w.start("w1", lease_seconds=30, name=name), key)
        for index, text in enumerate(texts):
            await self.append(w.data([event(text)], writer="w1", run=run, index=index), key)
        if ended:
            await self.append(w.end("w1", run, index=len(texts), result={"tokens": len(texts)}), key)
        return run

    async def cursor(self, sequence: int) -> str:
        return f"{await self.source.incarnation(KEY)}-{sequence}"


Make = Callable[..., "AsyncIterator[Site]"]


@pytest.fixture
async def make_site() -> AsyncIterator[Callable[..., object]]:
    """Makes sites with settings and an authenticator of the test's choice; ends them all."""
    async with AsyncExitStack() as stack:

        async def make(
            settings: Settings | None = None,
            authenticator: Authenticator | None = None,
            hub_settings: HubSettings | None = None,
            **options: object,
        ) -> Site:
            source = MemorySource()
            await source.start()
            stack.push_async_callback(source.close)
            hub = await stack.enter_async_context(Hub(source, hub_settings or HubSettings(broker_wait_seconds=0.2)))
            registry = Registry()
            app = create_app(
                hub,
                settings or Settings(wait_seconds=0),
                authenticator or NoAuthentication(TenantId("default")),
                source=source,
                meter=registry,
                **options,  # type: ignore[arg-type]
            )
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://localhost:8080"
                )
            )
            return Site(source, hub, client, registry)

        yield make


@pytest.fixture
async def site(make_site: Callable[..., object]) -> Site:
    return await make_site()  # type: ignore[misc, no-any-return]
