"""Keeps looking for the namespace's streams: replaced, gone, or not told at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from holdfast_gateway.broker.jetstream.doubts import Doubts
from holdfast_gateway.broker.jetstream.streams import Found, Incomplete
from holdfast_gateway.broker.tasks import Tasks
from holdfast_gateway.ports import SourceUnavailable

log = logging.getLogger(__name__)

DISCOVER_SECONDS = 10.0
"""How long a replaced stream may go unnoticed where nothing fails."""

LOOK_SECONDS = 0.5
"""However much fails, the cluster is asked for its streams at most this often."""

GONE_LOOKS = 3
"""Looks in a row without a stream before its feeds end: a cluster that starts has not all its streams at once."""


class Lookout:
    """Looks now and then, and soon after something failed.

    Args:
        look: one look, see `streams.discover`.
        on_found: gets what a look found, which may be what is known.
        on_gone: gets partition and name of a stream that the cluster has not had for several looks.
        on_mute: called when looks have not been answered for so long that another server should be tried.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Found]],
        doubts: Doubts,
        *,
        on_found: Callable[[Found], None],
        on_gone: Callable[[int, str], None],
        on_mute: Callable[[], None],
        tasks: Tasks,
    ) -> None:
        self._look_once = look
        self._doubts = doubts
        self._on_found = on_found
        self._on_gone = on_gone
        self._on_mute = on_mute
        self._tasks = tasks
        self._looking: asyncio.Task[None] | None = None
        self._missed: dict[int, int] = {}
        self.known: Found | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS if self._doubts.mute else DISCOVER_SECONDS)
            self.soon()

    def soon(self) -> None:
        """Something failed: look, unless that is being done."""
        if self.known is not None and (self._looking is None or self._looking.done()):
            self._looking = self._tasks.spawn(self._look())

    async def _look(self) -> None:
        answered = True
        try:
            self._on_found(await self._look_once())
            self._missed.clear()
        except Incomplete as missing:
            self._miss(missing.names)
        except SourceUnavailable as unknown:
            log.info("cannot look for the streams: %s", unknown)
            answered = False
        if self._doubts.looked(answered, asyncio.get_running_loop().time()):
            self._on_mute()
        await asyncio.sleep(LOOK_SECONDS)

    def _miss(self, names: Mapping[int, str]) -> None:
        assert self.known is not None
        for number, name in self.known.names.items():
            if names.get(number) == name:
                self._missed.pop(number, None)
                continue
            self._missed[number] = self._missed.get(number, 0) + 1
            if self._missed[number] == GONE_LOOKS:
                self._on_gone(number, name)
