"""One blocked connection per process that reads all its watched sessions.

A connection per session would use up the client's pool (100 by default) at a hundred chats, and the model's own
writes with it. So one task waits in `XREAD` on all streams at once; a small stream of the process's own is among
them, by which a new session makes it look up. Needs no rights but those on the stream keys.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from redis import exceptions

PAGE: Final = 256
"""Entries of one stream a turn, and at most waiting for a consumer: one that does not take them is not read for."""

BLOCK_SECONDS: Final = 2.0
WAKE_TTL_SECONDS: Final = 60
MAX_NUMBER: Final = 1 << 63

TRANSIENT: Final = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError, OSError)
"""What a retry may cure: connections, failovers, a server that loads its data."""

Entry: TypeAlias = tuple[int, dict[bytes, bytes]]
Execute: TypeAlias = Callable[..., Awaitable[Any]]

_log = logging.getLogger(__name__)


class Subscription:
    """One follower of one stream."""

    def __init__(self, key: bytes, after: int) -> None:
        self.key = key
        self.after = after
        self.entries: list[Entry] = []
        self.error: Exception | None = None
        self.ready = asyncio.Event()
        self.was_full = False

    @property
    def hungry(self) -> bool:
        return len(self.entries) < PAGE

    def give(self, entries: list[Entry]) -> None:
        new = [e for e in entries if e[0] > self.after]
        if new:
            self.entries += new
            self.after = new[-1][0]
            self.ready.set()


class RedisReader:
    """The task and its subscriptions.

    Args:
        client: a `redis.asyncio.Redis`.
        prefix: what the wake-up stream's name begins with.
        block_seconds: how long one `XREAD` waits; below the client's socket time-out.
        give_up_seconds: how long Redis may be away before the followers are told.
    """

    def __init__(self, client: Any, prefix: str, *, block_seconds: float, give_up_seconds: float) -> None:
        self._execute: Execute = client.execute_command
        self._wake_key = f"{prefix}:wake:{secrets.token_hex(6)}".encode()
        self._wake_after = b"0-0"
        self._block_ms = max(1, int(block_seconds * 1000))
        self._give_up_seconds = give_up_seconds
        self._subscriptions: set[Subscription] = set()
        self._asked: dict[bytes, int] = {}
        self._blocked = False
        self._woken = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._subscriptions)

    @asynccontextmanager
    async def subscribe(self, key: bytes, after: int) -> AsyncGenerator[Subscription, None]:
        """Follow a stream from after an entry's number."""
        subscription = Subscription(key, after)
        self._subscriptions.add(subscription)
        try:
            await self._look_up(subscription)
            yield subscription
        finally:
            # Without subscriptions the task ends when its present wait does; till then it can be used again.
            self._subscriptions.discard(subscription)

    async def take(self, subscription: Subscription, within_seconds: float) -> list[Entry]:
        """What has come; waits for it, and gives nothing when the time is over. Cancelling loses nothing.

        Raises what stopped the reader.
        """
        if subscription.was_full:  # and so was left out of what the reader waits for
            await self._look_up(subscription)
            subscription.was_full = False
        if not subscription.entries and subscription.error is None:
            subscription.ready.clear()
            try:
                async with asyncio.timeout(within_seconds):
                    await subscription.ready.wait()
            except TimeoutError:
                return []
        if not subscription.entries and subscription.error is not None:
            raise subscription.error
        subscription.was_full = not subscription.hungry
        entries, subscription.entries = subscription.entries, []
        return entries

    async def aclose(self) -> None:
        """Stop the task. Its connection is closed if it was waiting."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # More than once: `wait_for` of Python 3.11, which redis-py sends by, can swallow a cancellation.
            task.cancel()
            await asyncio.wait([task], timeout=0.05)

    async def _look_up(self, subscription: Subscription) -> None:
        """Have the reader read for the subscription now, not when its present wait is over."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)
        elif self._blocked and not self._woken and subscription.after < self._asked.get(subscription.key, MAX_NUMBER):
            self._woken = True  # for all who come before the next turn
            try:
                await self._execute("XADD", self._wake_key, "MAXLEN", 1, "*", "w", "1")
                await self._execute("EXPIRE", self._wake_key, WAKE_TTL_SECONDS)
            except TRANSIENT:
                pass  # the reader looks up by itself when its block is over

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        _log.error("reading from Redis failed", exc_info=error)
        for subscription in self._subscriptions:
            subscription.error = error if isinstance(error, Exception) else RuntimeError(str(error))
            subscription.ready.set()

    async def _run(self) -> None:
        pause, failing_since = 0.05, None
        loop = asyncio.get_running_loop()
        while self._subscriptions:
            try:
                await self._turn()
            except TRANSIENT as e:
                failing_since = failing_since or loop.time()
                if loop.time() - failing_since > self._give_up_seconds:
                    raise
                _log.warning("reading from Redis failed, trying again: %r", e)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                pause, failing_since = 0.05, None

    async def _turn(self) -> None:
        wanted: dict[bytes, int] = {}
        hungry = [s for s in self._subscriptions if s.hungry]
        for s in hungry:
            wanted[s.key] = min(s.after, wanted.get(s.key, s.after))
        keys = [*wanted, self._wake_key]
        places = [f"{after}-0".encode() for after in wanted.values()]
        self._asked, self._blocked, self._woken = wanted, True, False
        try:
            reply = await self._execute(
                "XREAD", "COUNT", PAGE, "BLOCK", self._block_ms, "STREAMS", *keys, *places, self._wake_after
            )
        finally:
            self._blocked = False
        for key, entries in _streams(reply):
            if key == self._wake_key:
                self._wake_after = _bytes(entries[-1][0])
                continue
            numbered = [
                (_number(i), {_bytes(k): _bytes(v) for k, v in fields.items()}) for i, fields in entries if fields
            ]
            for s in hungry:  # not those that came meanwhile: this was not read from where they are
                if s.key == key:
                    s.give(numbered)


def _streams(reply: Any) -> list[tuple[bytes, list[tuple[Any, dict[Any, Any]]]]]:
    """An `XREAD` reply in either protocol's form, as redis-py gives it."""
    if not reply:
        return []
    if isinstance(reply, dict):  # RESP3: the entries of a stream are in a list of one list
        return [(_bytes(k), v[0] if v and isinstance(v[0], list) else v) for k, v in reply.items()]
    return [(_bytes(k), v) for k, v in reply]


def _number(entry_id: bytes | str) -> int:
    return int(_bytes(entry_id).partition(b"-")[0])


def _bytes(value: bytes | str) -> bytes:
    # A client with decode_responses=True gives text.
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
