"""Random schedules of publish, loss, staleness, outage, trim, cut and reconnect: every client sees every event once.

The truth is what the log took, told by the wire contract's own fold; clients read bytes. Whatever happens, two events a
client has one behind the other are neighbours in the truth, unless a `session.gap` stands between them.
"""

from __future__ import annotations

import asyncio
import random

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.wire import Control, Cursor, Event, Phase, RunState, SessionKey, codec, step
from holdfast.wire.run import NEW
from holdfast_gateway.broker.memory import MemorySource
from holdfast_gateway.ports import Appended, SourceUnavailable
from holdfast_gateway.runtime.api import Attached, HubSettings, NothingLeft, SessionUnknown
from holdfast_gateway.runtime.hub import Hub
from tests.unit.runtime.clients import BufferSink, Seen, parse, start
from tests.unit.runtime.virtual_time import VirtualTimeLoop, now, settle

KEY = SessionKey.of("machine")
SETTINGS = HubSettings(
    ring_session_bytes=3_000,
    lag_bytes=20_000,
    idle_seconds=0,
    linger_seconds=3.0,
    page_records=3,
    heartbeat_seconds=2.0,
)
TERMINALS = ("session.end", "session.failed", "session.cancelled")


class Client:
    """One EventSource: reads, loses connections, comes back with its last id."""

    def __init__(self, follow: bool, mark_bytes: int) -> None:
        self.follow = follow
        self.mark_bytes = mark_bytes
        self.sink: BufferSink | None = None
        self.last_id = ""
        self.story: list[Seen] = []
        self.done = False
        self.floor: str | None = None

    def hang_up(self) -> None:
        """The connection is cut: what was not read is lost."""
        if self.sink is None:
            return
        seen, last = parse(bytes(self.sink.taken))
        self.story += seen
        self.last_id = last or self.last_id
        if self.sink.viewer is not None:
            self.sink.viewer.detach()
        self.sink = None


class Exactness(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.clients: list[Client] = []
        self.truth: list[tuple[str, str]] = []  # id, event
        self.place: dict[str, int] = {}
        self.state: RunState = NEW
        self.last = 0
        self.index = 0

    def run(self, work):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(work)

    @initialize(salt=st.integers(0, 999))
    def begin(self, salt: int) -> None:
        async def opened() -> None:
            self.source = MemorySource(sweep_seconds=0.05, clock=now)
            self.hubs = [
                Hub(self.source, SETTINGS, clock=now, wall=now, dice=random.Random(salt + pod)) for pod in (0, 1)
            ]
            self.incarnation = await self.source.incarnation(KEY)
            for hub in self.hubs:
                await hub.__aenter__()

        self.run(opened())

    # ------------------------------------------------------------------------------------------ producers

    def append(self, draft: codec.Draft) -> None:
        async def appended() -> None:
            result = await self.source.append(KEY, draft, None)
            if isinstance(result, Appended):
                self.tell(result.sequence, draft)
            await settle(3)

        self.run(appended())

    def tell(self, sequence: int, draft: codec.Draft) -> None:
        self.last = sequence
        self.state, outputs = step(self.state, codec.decode(sequence, draft.headers, draft.body))
        told = [o for o in outputs if isinstance(o, Event) or o.counted]
        for item, output in enumerate(told):
            whole = item == len(told) - 1
            id = str(Cursor(self.incarnation, sequence, None if whole else item))
            if isinstance(output, Control) and output.data.get("reason") == "superseded":
                continue
            self.place[id] = len(self.truth)
            self.truth.append((id, output.type if isinstance(output, Event) else output.event))

    @rule(name=st.sampled_from(["w1", "w2"]))
    def start_run(self, name: str) -> None:
        self.append(codec.start(name))
        self.index = 0

    @rule(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=4), lines=st.booleans())
    def write(self, sizes: list[int], lines: bool) -> None:
        if self.state.phase is not Phase.OPEN:
            self.start_run("w1")
        filler = b"x\n" if lines else b"y"
        events = [Event((filler * size)[:size], "message" if i % 2 else "token") for i, size in enumerate(sizes)]
        self.append(codec.data(events, writer=self.state.writer, run=self.state.run, index=self.index))
        self.index += len(events)

    @rule(how=st.sampled_from(["end", "failed", "cancelled", "reset", "alive"]))
    def finish(self, how: str) -> None:
        writer, run = self.state.writer, self.state.run
        if self.state.phase is not Phase.OPEN or writer is None:
            return
        self.append(
            {
                "end": codec.end(writer, run),
                "failed": codec.failed(writer, run, "broke"),
                "cancelled": codec.cancelled(run),
                "reset": codec.reset(writer, run),
                "alive": codec.alive(writer, run),
            }[how]
        )

    # ------------------------------------------------------------------------------------------ the broker's doings

    @rule(every=st.integers(1, 4), double=st.booleans())
    def lose_live(self, every: int, double: bool) -> None:
        self.source.faults.drop_live = None if every == 4 else lambda record: record.sequence % (every + 1) != 0
        self.source.faults.double_live = (lambda record: record.sequence % 2 == 0) if double else None

    @rule(by=st.integers(1, 6), reads=st.integers(1, 5))
    def go_stale(self, by: int, reads: int) -> None:
        self.source.faults.stale_by, self.source.faults.stale_reads = by, reads

    @rule(on=st.booleans())
    def outage(self, on: bool) -> None:
        self.source.faults.outage = on

    @rule()
    def lose_connection(self) -> None:
        async def done() -> None:
            self.source.reconnect()
            await settle(3)

        self.run(done())

    @precondition(lambda self: self.last > 2)
    @rule(back=st.integers(1, 12))
    def trim(self, back: int) -> None:
        self.source.trim(KEY, self.last - back)

    @precondition(lambda self: self.state.phase is Phase.OPEN)
    @rule(count=st.integers(2, 5))
    def lose_for_good(self, count: int) -> None:
        """Nobody is told live, and all but the last are gone before anyone looks."""
        faults = self.source.faults
        drop, faults.drop_live = faults.drop_live, lambda record: True
        for _ in range(count):
            self.write([9], False)
        self.source.trim(KEY, self.last - 1)
        faults.drop_live = drop

    @rule()
    def replace(self) -> None:
        async def replaced() -> None:
            await asyncio.sleep(2.5)
            self.source.replace()
            outage, self.source.faults.outage = self.source.faults.outage, False
            self.incarnation = await self.source.incarnation(KEY)
            self.source.faults.outage = outage
            await settle(5)

        self.run(replaced())
        self.state, self.last = NEW, 0

    # ------------------------------------------------------------------------------------------ clients

    @rule(
        which=st.integers(0, 3),
        pod=st.integers(0, 1),
        wait=st.sampled_from([0.0, 0.2]),
        follow=st.booleans(),
        mark=st.sampled_from([150, 2_000, 1 << 30]),
    )
    def connect(self, which: int, pod: int, wait: float, follow: bool, mark: int) -> None:
        if which >= len(self.clients):
            which = len(self.clients)
            self.clients.append(Client(follow, mark))
        client = self.clients[which]
        if client.sink is None and not client.done:
            self.run(self.attach(client, self.hubs[pod], wait))

    async def attach(self, client: Client, hub: Hub, wait_seconds: float) -> None:
        cursor = Cursor.parse(client.last_id) if client.last_id else None
        try:
            outcome = await hub.attach(KEY, cursor=cursor, follow=client.follow, wait_seconds=wait_seconds)
        except (SessionUnknown, SourceUnavailable):
            return
        if isinstance(outcome, NothingLeft):
            assert not client.follow
            if client.last_id in self.place:
                assert self.place[client.last_id] == len(self.truth) - 1, "204 before the end of the log"
                assert self.state.phase is not Phase.OPEN, "204 while a run is open"
            client.done = True
            return
        assert isinstance(outcome, Attached)
        client.sink = start(outcome.viewer, client.mark_bytes)

    @precondition(lambda self: self.clients)
    @rule(which=st.integers(0, 3), size=st.sampled_from([100, 1_000, 10_000]))
    def read(self, which: int, size: int) -> None:
        async def taken() -> None:
            sink = self.clients[which % len(self.clients)].sink
            if sink is not None:
                sink.take(size)
            await settle(5)

        self.run(taken())

    @precondition(lambda self: self.clients)
    @rule(which=st.integers(0, 3))
    def cut(self, which: int) -> None:
        async def gone() -> None:
            self.clients[which % len(self.clients)].hang_up()

        self.run(gone())

    @precondition(lambda self: self.clients)
    @rule(which=st.integers(0, 3), pod=st.integers(0, 1), size=st.sampled_from([80, 300, 1_200, 5_000]))
    def blink(self, which: int, pod: int, size: int) -> None:
        """Read a little, be cut off in the middle of whatever it is, and come back at once."""
        client = self.clients[which % len(self.clients)]
        self.read(which, size)
        self.cut(which)
        if not client.done:
            self.run(self.attach(client, self.hubs[pod], 0.0))

    @rule(seconds=st.sampled_from([0.01, 0.3, 4.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # ------------------------------------------------------------------------------------------ what must hold

    @invariant()
    def neighbours(self) -> None:
        for client in self.clients:
            story = client.story + (client.sink.seen if client.sink is not None else [])
            self.check(story)

    def check(self, story: list[Seen]) -> None:
        before: int | None = None
        gap = False
        for seen in story:
            if seen.event == "session.gap":
                gap = True
            if seen.id is None or (seen.event == "session.failed" and seen.json.get("reason") == "superseded"):
                continue
            place = self.place.get(seen.id)
            assert place is not None, f"invented: {seen}"
            assert self.truth[place][1] == seen.event
            if before is not None:
                assert place > before, f"doubled or reordered: {seen}"
                assert gap or place == before + 1, f"lost between {self.truth[before]} and {seen}"
            before, gap = place, False

    def teardown(self) -> None:
        try:
            if hasattr(self, "hubs"):
                self.run(self.ending())
        finally:
            self.loop.close()

    async def ending(self) -> None:
        """All heals, the run ends: every client comes to the same end, and nothing comes after it."""
        faults = self.source.faults
        faults.outage, faults.drop_live, faults.double_live, faults.stale_reads = False, None, None, 0
        self.source.reconnect()
        for draft in (codec.start("last"), codec.data([Event(b"bye")], writer="last", run=self.last + 1)):
            result = await self.source.append(KEY, draft, None)
            assert isinstance(result, Appended)
            self.tell(result.sequence, draft)
        draft = codec.end("last", self.state.run)
        result = await self.source.append(KEY, draft, None)
        assert isinstance(result, Appended)
        self.tell(result.sequence, draft)
        for client in self.clients:
            client.done = False
            for attempt in range(60):
                if client.sink is None:
                    await self.attach(client, self.hubs[attempt % 2], 1.0)
                if client.done:
                    break
                if client.sink is not None:
                    client.sink.take_all()
                    await asyncio.sleep(0.5)
                    client.sink.take_all()
                    if client.follow and client.sink.last_id == self.truth[-1][0]:
                        break
                    if client.sink.reason is not None:
                        client.hang_up()
            seen = client.story + (client.sink.seen if client.sink is not None else [])
            if client.follow and not client.done:
                assert client.sink is not None
                assert client.sink.reason is None
            else:
                assert client.done, f"never told that nothing is left: {seen[-3:]}"
            self.check(seen)
            named = [s for s in seen if s.id is not None]
            assert named, "saw nothing at all"
            assert named[-1].id == self.truth[-1][0], f"ends with {named[-1]}"
        for hub in self.hubs:
            assert hub.counters.failures == 0
            await hub.close()
            assert hub.viewers == 0
            assert hub.ring_bytes == 0
        await self.source.close()


Exactness.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestExactness = Exactness.TestCase
