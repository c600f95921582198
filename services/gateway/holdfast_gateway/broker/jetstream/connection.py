"""A nats-py client that is connected, or becomes so again, until it is closed.

What nats-py does not do, this does: a first connect that ends with a clear error; a dead read loop noticed (nats-py
stays "connected" for ever); a closed client replaced by a new one; nothing published late after a reconnect.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from nats.aio.client import Client

from holdfast_gateway.broker.jetstream import natspy
from holdfast_gateway.broker.jetstream.access import Access
from holdfast_gateway.broker.jetstream.fastparse import FastParser
from holdfast_gateway.broker.tasks import Tasks
from holdfast_gateway.ports import SourceUnavailable

log = logging.getLogger(__name__)

PING_SECONDS = 5
WATCH_SECONDS = 0.5
CONNECT_SECONDS = 2
RECONNECT_SECONDS = 0.2


class Owner(Protocol):
    """Who uses the connection."""

    async def on_client(self, client: Client, parser: FastParser | None) -> None:
        """Another client is connected; `parser` is the fast one, if it is in place. Before `on_up`."""

    def on_lost(self) -> None:
        """What was under way is lost. May come several times."""

    def on_down(self) -> None:
        """The connection is lost."""

    def on_up(self) -> None:
        """It is back. Not called for the first connect."""


class Connection:
    """Create, `connect`, use `client`, `close`."""

    def __init__(self, access: Access, name: str, owner: Owner, *, fast: bool = True) -> None:
        self.client: Client | None = None
        self.reconnects = 0
        self.tasks = Tasks(name)
        self._access = access
        self._name = name
        self._owner = owner
        self._want_fast = fast
        self._last_error = "no answer"
        self._up = False
        self._first = True
        self._closed = False

    async def connect(self, patience_seconds: float) -> None:
        """Connect for the first time.

        Raises `SourceUnavailable` naming the servers: after `patience_seconds`, or at once for refused credentials.
        """
        try:
            async with asyncio.timeout(patience_seconds):
                await self._dial()
        except TimeoutError:
            raise SourceUnavailable(
                f"no NATS server reachable at {self._access.shown} within {patience_seconds:g} s: {self._last_error}"
            ) from None
        self._first = False
        self.tasks.spawn(self._watch())

    async def close(self) -> None:
        """End at once. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._up = False
        self._owner.on_lost()
        await self.tasks.close()
        await self._drop_client()

    @property
    def up(self) -> bool:
        client = self.client  # it knows of a loss a little before it tells
        return self._up and not self._closed and client is not None and client.is_connected

    def suspect(self) -> None:
        """Something about this connection's server seems wrong: go to another one, if there is one."""
        if self.up and self.client is not None:
            self.tasks.spawn(self._reconnect(self.client))

    # ------------------------------------------------------------------------------------------ inside

    async def _dial(self) -> None:
        """Connect a new client, for as long as it takes. Cancelling it leaves no client behind."""
        client = Client()
        difference = natspy.knows(client) if self._want_fast else "switched off"
        parser = natspy.install(client, self._report) if difference is None else None
        if parser is None and self._want_fast:
            log.warning("nats-py is not the one the fast parser knows (%s): ingest takes the slow way", difference)
        try:
            await client.connect(
                servers=list(self._access.servers),
                name=self._name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_disconnected,
                lame_duck_mode_cb=self._on_lame_duck,
                connect_timeout=CONNECT_SECONDS,
                reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type]  # it sleeps that long, any number does
                max_reconnect_attempts=-1,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=2,
                **self._access.options,
            )
            await self._owner.on_client(client, parser)
        except BaseException:
            await natspy.close(client)
            raise
        self.client = client
        self._up = True

    async def _drop_client(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            await natspy.close(client)

    def _report(self, failure: Exception) -> None:
        log.error("%s: a callback failed", self._name, exc_info=failure)

    async def _on_error(self, failure: Exception) -> None:
        self._last_error = str(failure) or type(failure).__name__
        if self._first and "authorization" in self._last_error.lower():
            # Out of nats-py's connect, which would try again for ever what will not be believed.
            raise SourceUnavailable(f"{self._access.shown} refused the credentials: {self._last_error}")
        log.debug("%s: %s", self._name, self._last_error)

    async def _on_disconnected(self) -> None:
        if self.client is not None:
            natspy.drop_pending(self.client)
        self._went_down()

    async def _on_reconnected(self) -> None:
        self._came_up()

    async def _on_lame_duck(self) -> None:
        log.info("%s: the server is about to stop, moving on", self._name)
        self.suspect()

    def _went_down(self) -> None:
        self._owner.on_lost()
        if self._up and not self._closed:
            self._up = False
            log.warning("%s: connection lost: %s", self._name, self._last_error)
            self._owner.on_down()

    def _came_up(self) -> None:
        if not self._up and not self._closed:
            self._up = True
            self.reconnects += 1
            log.warning("%s: connected again", self._name)
            self._owner.on_up()

    async def _watch(self) -> None:
        """See to it that there is a living client: nats-py's own tasks end without a word."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._revive()
            except Exception:
                log.exception("%s: could not be revived, trying again", self._name)

    async def _revive(self) -> None:
        client = self.client
        if client is None or client.is_closed:
            self._went_down()
            await self._drop_client()
            await self._dial()
            self._up = False
            self._came_up()
        elif (task := natspy.ended(client)) is not None:
            self._last_error = f"nats-py's {task} ended"
            if client.is_connected:
                await self._reconnect(client)
            else:
                self._went_down()
                await self._drop_client()

    async def _reconnect(self, client: Client) -> None:
        if client is self.client and client.is_connected:
            await client.force_reconnect()
