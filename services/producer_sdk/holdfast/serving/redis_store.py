"""Sessions in Redis Streams: capped, expiring, one producer over all processes."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from typing import Any, Final
from weakref import WeakValueDictionary

from redis.exceptions import NoScriptError

from holdfast.serving import redis_scripts as scripts
from holdfast.serving.places import cleared_after, locate_in, trimmed_between
from holdfast.serving.records import CLEARED, LOST, Outcome, Place, Position, Record, State
from holdfast.serving.redis_reader import BLOCK_SECONDS, TRANSIENT, Entry, RedisReader
from holdfast.serving.store import (
    DEFAULT_IDLE_SECONDS,
    DEFAULT_LEASE_SECONDS,
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_EVENTS,
    DEFAULT_TTL_SECONDS,
    RunLost,
    SessionEnded,
    StoreUnavailable,
)
from holdfast.wire.event import MESSAGE, Event

_ESCAPED: Final = re.compile("[%{}\ud800-\udfff]")

CHECK_SECONDS: Final = 5.0
"""How often a follower of a silent session looks whether it was cleared or its producer's lease is over."""

MAX_CALLS: Final = 16
"""At once. More would not be faster, and would use up the client's pool, which then raises (100 connections by
default); the application has calls of its own to make."""

CLEARED_SECONDS: Final = 60
"""How long a cleared session's stream stays, with nothing in it but that it was cleared."""


class RedisStore:
    """A `SessionStore` for all processes that share a Redis.

    A session is a hash `<status_prefix>:{<session>}` and a stream `<stream_prefix>:{<session>}:<run>`, its entries
    numbered densely from 1, so that what was trimmed shows. Every write is a script that checks the run first.

    Args:
        client: a `redis.asyncio.Redis`, with or without `decode_responses`. It stays the caller's.
        stream_prefix: of the streams' names.
        status_prefix: of the hashes' names.
        lease_seconds: a run is closed as failed when silent for so long.
        idle_seconds: the same for sessions filled by `push` alone.
        ttl_seconds: how long a session is kept after it was last touched.
        max_events: per session.
        max_bytes: per session, of its data.
    """

    def __init__(
        self,
        client: Any,
        stream_prefix: str = "stream:chat",
        status_prefix: str = "status:chat",
        *,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        max_events: int = DEFAULT_MAX_EVENTS,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self.lease_seconds = lease_seconds
        self._client = client
        self._stream_prefix = stream_prefix
        self._status_prefix = status_prefix
        self._lease_ms = int(lease_seconds * 1000)
        self._idle_ms = int(idle_seconds * 1000)
        # A key must outlive the lease, or a session could vanish without anybody being told how it ended.
        self._ttl_ms = max(int(ttl_seconds * 1000), 2 * self._lease_ms)
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._check_seconds = min(CHECK_SECONDS, lease_seconds / 2)
        pool = getattr(client, "connection_pool", None)
        connections = getattr(pool, "max_connections", None) or MAX_CALLS + 1
        self._calls = asyncio.Semaphore(max(1, min(MAX_CALLS, connections - 1)))
        timeout = getattr(pool, "connection_kwargs", {}).get("socket_timeout")
        block_seconds = min(BLOCK_SECONDS, timeout / 2) if timeout else BLOCK_SECONDS
        self._reader = RedisReader(client, stream_prefix, block_seconds=block_seconds, give_up_seconds=lease_seconds)
        self._writer = secrets.token_hex(6)
        self._pushed = 0
        self._pushing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, session_id: str) -> str | None:
        run = secrets.token_hex(6)
        # Not repeated by us, but redis-py may: a run of our own that is there already is ours.
        begun = await self._script(session_id, run, scripts.BEGIN, run, self._lease_ms, self._ttl_ms)
        if begun == 1 or (await self._status(session_id))[0] == run:
            return run
        return None

    async def append(self, session_id: str, run: str | None, first: int, events: Sequence[Event]) -> None:
        if run is None:
            await self._push(session_id, events)
            return
        done = await self._append(session_id, run, run, first, events)
        if done != "ok":
            raise RunLost(session_id, "ended" if done == "ended" else "cleared")

    async def _push(self, session_id: str, events: Sequence[Event]) -> None:
        # One at a time, each with a number of its own: a call that redis-py repeats must not be stored twice.
        lock = self._pushing.setdefault(session_id, asyncio.Lock())
        async with lock:
            self._pushed += 1
            first, self._pushed = self._pushed, self._pushed + len(events) - 1
            while True:
                run = await self._current(session_id)
                done = await self._append(session_id, run, self._writer, first, events)
                if done == "ended":
                    raise SessionEnded(session_id)
                if done == "ok":
                    return

    async def _append(self, session_id: str, run: str, writer: str, first: int, events: Sequence[Event]) -> str:
        flat = [part for e in events for part in (e.type, _utf8(e.data))]
        limits = (self._max_events, self._max_bytes, self._ttl_ms)
        return _text(await self._script(session_id, run, scripts.APPEND, run, writer, first, *limits, *flat))

    async def _current(self, session_id: str) -> str:
        """The session's run; a new one without a generator if there is none."""
        run = (await self._status(session_id))[0]
        while run is None:
            new = secrets.token_hex(6)
            ttl_ms = max(self._ttl_ms, 2 * self._idle_ms)
            await self._script(session_id, new, scripts.BEGIN, new, self._idle_ms, ttl_ms)
            run = (await self._status(session_id))[0]
        return run

    async def finish(self, session_id: str, run: str | None, outcome: Outcome) -> None:
        while True:
            of = await self._current(session_id) if run is None else run
            args = (of, outcome.kind, outcome.data, self._ttl_ms)
            done = _text(await self._script(session_id, of, scripts.FINISH, *args))
            if done != "lost" or run is not None:
                return

    async def renew(self, session_id: str, run: str) -> None:
        done = _text(await self._script(session_id, run, scripts.RENEW, run, self._ttl_ms))
        if done != "ok":
            raise RunLost(session_id, "ended" if done == "ended" else "cleared")

    async def erase(self, session_id: str) -> None:
        while (run := (await self._status(session_id))[0]) is not None:
            args = (run, CLEARED.data, CLEARED_SECONDS * 1000)
            if _text(await self._script(session_id, run, scripts.ERASE, *args)) == "ok":
                return

    async def locate(self, session_id: str, last_id: str) -> Place | None:
        run, state, dropped, last = await self._status(session_id)
        if run is None:
            return None
        return locate_in(run, state, dropped, last, last_id)

    async def follow(self, session_id: str, run: str, after: Position) -> AsyncGenerator[list[Record], None]:
        key = self._stream_key(session_id, run)
        async with self._reader.subscribe(key, after[0]) as subscription:
            while True:
                try:
                    entries = await self._reader.take(subscription, self._check_seconds)
                except TRANSIENT as e:
                    raise StoreUnavailable(session_id, "Redis cannot be reached") from e
                if not entries:
                    state = _text(await self._script(session_id, run, scripts.CHECK, run, LOST.data, self._ttl_ms))
                    if state == "lost":
                        yield [cleared_after(after)]
                        return
                    continue
                batch = []
                if entries[0][0] > after[0] + 1:
                    after, told = trimmed_between(run, after, entries[0][0] - 1)
                    batch.append(told)
                batch += [_record(run, e) for e in entries]
                after = batch[-1].position
                yield batch
                if batch[-1].terminal:
                    return

    async def aclose(self) -> None:
        """Stop reading. The client stays the caller's."""
        await self._reader.aclose()

    async def _status(self, session_id: str) -> tuple[str | None, State, int, int]:
        """Run, state, how many are gone, the last number."""
        fields = await self._call("HMGET", self._status_key(session_id), "run", "state", "dropped", "last")
        run, state, dropped, last = (None if f is None else _text(f) for f in fields)
        if run is None:
            return None, "open", 0, 0
        return run, state or "open", int(dropped or 0), int(last or 0)  # type: ignore[return-value]

    async def _script(self, session_id: str, run: str, script: str, *args: object) -> Any:
        keys = (self._status_key(session_id), self._stream_key(session_id, run))
        try:
            return await self._call("EVALSHA", _sha(script), 2, *keys, *args)
        except NoScriptError:  # a server that is new, or was restarted
            return await self._call("EVAL", script, 2, *keys, *args)

    async def _call(self, *command: object) -> Any:
        """One command, tried again while Redis is away: every one of ours may be done twice."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self.lease_seconds / 2, 0.05
        while True:
            try:
                async with self._calls:
                    return await self._client.execute_command(*command)
            except TRANSIENT as e:
                if loop.time() + pause > until:
                    raise StoreUnavailable(
                        _text(command[3] if command[0] in ("EVAL", "EVALSHA") else command[1]), repr(e)
                    ) from e
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    def _status_key(self, session_id: str) -> bytes:
        return f"{self._status_prefix}:{{".encode() + _tag(session_id) + b"}"

    def _stream_key(self, session_id: str, run: str) -> bytes:
        return f"{self._stream_prefix}:{{".encode() + _tag(session_id) + f"}}:{run}".encode()


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _tag(session_id: str) -> bytes:
    """The session id inside a hash tag: braces would end it, an empty one would be none, half a character no text."""
    return _ESCAPED.sub(lambda m: f"%{ord(m[0]):02X}", session_id).encode() or b"%"


def _record(run: str, entry: Entry) -> Record:
    n, fields = entry
    data = fields.get(b"d", b"").decode("utf-8", "replace")
    kind = fields.get(b"k")
    if kind is None:
        return Record((n, 0), f"{run}-{n}", "data", data, fields.get(b"t", MESSAGE.encode()).decode())
    return Record((n, 0), f"{run}-{n}", "end" if kind == b"end" else "failed", data)


def _utf8(data: bytes) -> bytes:
    # Viewers get text; a client with decode_responses could not even read anything else back.
    return data.decode("utf-8", "replace").encode()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
