"""How each system takes an event: what a producer of that system would do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote

from bench.publish.http import Poster, request
from bench.publish.schedule import Lateness, Plan, produce


class Way(ABC):
    """A way to publish. ``accepted`` counts what the system has acknowledged (for us: what the broker has)."""

    def __init__(self, plan: Plan, target: dict[str, Any]) -> None:
        """Take the load and where it goes."""
        self.plan = plan
        self.target = target
        self.first: int = target.get("first", 0)
        self.accepted = 0
        self.refused = 0

    @abstractmethod
    async def open(self) -> None:
        """Connect and start the sessions, so that viewers find them."""

    async def run(self, start_us: int, patience_seconds: float) -> Lateness:
        """Publish on schedule, then wait up to ``patience_seconds`` until all is accepted."""
        lateness = await produce(self.plan, self.emit, start_us=start_us)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self.settle()
        return lateness

    def emit(self, session: int, data: str) -> None:
        """Hand over one event; never waits."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until everything handed over is accepted."""
        while self.accepted + self.refused < self.plan.total:  # noqa: ASYNC110  counting is all a poster does
            await asyncio.sleep(0.01)

    async def close(self) -> None:  # noqa: B027  most ways have nothing to end
        """End the sessions and hang up."""


class Http(Way):
    """One keep-alive connection per session, one POST per event."""

    def __init__(self, plan: Plan, target: dict[str, Any]) -> None:
        super().__init__(plan, target)
        self._posters: list[Poster] = []

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.plan.sessions):
            _, poster = await loop.create_connection(lambda: Poster(self._done), "127.0.0.1", self.target["port"])
            self._posters.append(poster)

    def _done(self, status: int) -> None:
        if 200 <= status < 300:
            self.accepted += 1
        else:
            self.refused += 1

    def emit(self, session: int, data: str) -> None:
        self._posters[session].post(self.request(session, data))

    def request(self, session: int, data: str) -> bytes:
        """Return the request that publishes ``data``."""
        raise NotImplementedError

    async def close(self) -> None:
        for poster in self._posters:
            poster.close()


class Nchan(Http):
    """POST to the publisher location."""

    def request(self, session: int, data: str) -> bytes:
        return request("POST", f"/pub/{self.first + session}", data.encode())


class Mercure(Http):
    """POST a form with a publisher's JWT."""

    def request(self, session: int, data: str) -> bytes:
        body = f"topic=bench-{self.first + session}&data={quote(data)}".encode()
        return request(
            "POST",
            "/.well-known/mercure",
            body,
            f"Authorization: Bearer {self.target['token']}",
            "Content-Type: application/x-www-form-urlencoded",
        )


class Centrifugo(Http):
    """POST to the server API."""

    def request(self, session: int, data: str) -> bytes:
        body = json.dumps({"channel": f"bench-{session}", "data": {"text": data}}).encode()
        return request(
            "POST",
            "/api/publish",
            body,
            f"X-API-Key: {self.target['key']}",
            "Content-Type: application/json",
        )


class DurableStreams(Http):
    """PUT creates a stream, POST appends to it."""

    async def open(self) -> None:
        await super().open()
        for session, poster in enumerate(self._posters):
            poster.post(request("PUT", f"/v1/stream/bench-{self.first + session}", b"", "Content-Type: text/plain"))
        while self.accepted + self.refused < self.plan.sessions:  # noqa: ASYNC110  the same
            await asyncio.sleep(0.01)
        if self.refused:
            raise RuntimeError("a stream could not be created")
        self.accepted = 0

    def request(self, session: int, data: str) -> bytes:
        return request("POST", f"/v1/stream/bench-{self.first + session}", data.encode(), "Content-Type: text/plain")


class InProcess(Way):
    """The application makes the events itself: no way in at all, the kindest case for it.

    The plan is sent to the app, whose own event loop runs the same schedule.
    """

    async def open(self) -> None:
        await self._post("/produce/open", {"plan": json.loads(self.plan.to_json()), "first": self.first})

    async def run(self, start_us: int, patience_seconds: float) -> Lateness:
        answer = await self._post("/produce/run", {"start_us": start_us, "patience_seconds": patience_seconds})
        self.accepted = int(answer["accepted"])
        return Lateness(float(answer["late_seconds"]))

    async def close(self) -> None:
        await self._post("/produce/close", {})

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target["port"])
        writer.write(
            request("POST", path, json.dumps(body).encode(), "Connection: close", "Content-Type: application/json")
        )
        head, _, answer = (await reader.read(-1)).partition(b"\r\n\r\n")
        writer.close()
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path} answered {head[:60]!r}")
        result = json.loads(answer)
        assert isinstance(result, dict)
        return result


class Sdk(Way):
    """Our producer SDK, as a model loop uses it, through the real broker."""

    async def open(self) -> None:
        import holdfast

        self._stack = contextlib.AsyncExitStack()
        self._client = await self._stack.enter_async_context(holdfast.connect(self.target["nats"]))
        self._sessions: list[Any] = []
        for number in range(self.plan.sessions):
            name = f"{self.target['prefix']}{self.first + number}"
            session = self._client.session(name, **self.target.get("options", {}))
            self._sessions.append(await self._stack.enter_async_context(session))

    def emit(self, session: int, data: str) -> None:
        self._sessions[session].write(data)

    async def settle(self) -> None:
        for session in self._sessions:
            await session.drain()
        self.accepted = self.plan.total

    async def close(self) -> None:
        await self._stack.aclose()


WAYS: dict[str, type[Way]] = {
    "sdk": Sdk,
    "nchan": Nchan,
    "mercure": Mercure,
    "centrifugo": Centrifugo,
    "durable-streams": DurableStreams,
    "in-process": InProcess,
}
