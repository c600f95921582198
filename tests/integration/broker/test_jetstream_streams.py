"""Streams that are deleted, recreated or rolled back under running feeds, and accounts with few rights."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from holdfast.wire import SessionKey
from holdfast_gateway.broker.embedded import EmbeddedServer
from holdfast_gateway.broker.jetstream import Api, JetStreamSource, lookout, sweeper
from holdfast_gateway.broker.jetstream.access import access
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.broker.jetstream.streams import ask
from holdfast_gateway.broker.provision import provision
from holdfast_gateway.ports import Appended, Located, Refused, SourceUnavailable, Unsettled
from tests.sinks import Sink, fill, text, until

KEY = SessionKey.of("chat-1")


async def test_a_deleted_stream_ends_its_feeds_and_a_new_one_is_taken_up(
    provisioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted for good: told after a few looks. Provisioned again: served, under another incarnation."""
    monkeypatch.setattr(lookout, "DISCOVER_SECONDS", 0.05)
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.05)
    source = JetStreamSource([provisioned], sweep_seconds=0.1)
    await source.start()
    old = await source.incarnation(KEY)
    await fill(source, KEY, 2)
    sink = Sink()
    source.open_feed(KEY, sink)
    await until(lambda: sink.caught_up)
    admin = Link(access([provisioned], {}), "test-admin")
    await admin.connect(5)
    await ask(admin, f"$JS.API.STREAM.DELETE.{source._place(KEY)[1]}", {})
    await until(lambda: sink.gone is not None)
    assert "is gone" in str(sink.gone)
    assert isinstance(await source.append(KEY, text("x"), 2), Unsettled | Refused)
    assert (await provision([provisioned], max_bytes=10**7)).ok
    async with asyncio.timeout(5):
        while await source.incarnation(KEY) == old:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await source.append(KEY, text("x"), 0) == Appended(1)
    await admin.close()
    await source.close()


async def test_an_old_writer_cannot_append_to_a_stream_of_another_incarnation(provisioned: str) -> None:
    """The sequences would match by chance: `Nats-Expected-Stream` names the incarnation."""
    source = JetStreamSource([provisioned])
    await source.start()
    await fill(source, KEY, 3)
    admin = Link(access([provisioned], {}), "test-admin")
    await admin.connect(5)
    await ask(admin, f"$JS.API.STREAM.DELETE.{source._place(KEY)[1]}", {})
    assert (await provision([provisioned], max_bytes=10**7)).ok
    other = JetStreamSource([provisioned])
    await other.start()
    await fill(other, KEY, 3)
    assert await source.append(KEY, text("zombie"), 3) == Refused(None)
    assert [r.sequence for r in (await other.read(KEY, 1)).records] == [1, 2, 3]
    await admin.close()
    await other.close()
    await source.close()


async def test_a_store_that_was_rolled_back_ends_its_feeds(
    nats_server: EmbeddedServer, provisioned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup under the same name: sequences are used again, and a feed would wait above them for ever."""
    monkeypatch.setattr(sweeper, "REWIND_SECONDS", 0.3)
    source = JetStreamSource([provisioned], sweep_seconds=0.1)
    await source.start()
    await fill(source, KEY, 2)
    sink = Sink()
    source.open_feed(KEY, sink)
    await until(lambda: sink.caught_up)
    store, backup = tmp_path / "nats" / "store", tmp_path / "backup"
    shutil.copytree(store, backup)
    await fill(source, KEY, 5, 2)
    partition = next(iter(source._partitions.values()))
    await until(lambda: partition.highest == 7)
    assert nats_server.pid is not None
    monkeypatch.setattr("holdfast_gateway.broker.embedded.FIRST_RESTART_SECONDS", 1.0)
    os.kill(nats_server.pid, signal.SIGKILL)
    await until(lambda: nats_server.pid is None)
    shutil.rmtree(store)
    shutil.copytree(backup, store)
    await until(lambda: sink.gone is not None, 10)
    assert "rolled back from sequence 7 to 2" in str(sink.gone)
    assert await source.locate(KEY, await source.incarnation(KEY), 7) is Located.FUTURE
    fresh = Sink()
    source.open_feed(KEY, fresh)
    await until(lambda: fresh.caught_up)
    assert fresh.sequences == [1, 2]
    await source.close()


ACCOUNTS = """
accounts {
  STREAMS {
    jetstream: enabled
    users = [ { user: admin, password: a } ]
    exports = [
      { service: "$JS.API.DIRECT.GET.*", response_type: "stream", accounts: [GATEWAY] }
      { service: "$JS.API.STREAM.MSG.GET.*", accounts: [GATEWAY] }
      { service: "$JS.API.STREAM.INFO.*", accounts: [GATEWAY] }
      { service: "$JS.API.STREAM.NAMES", accounts: [GATEWAY] }
      { service: "hf.*.*.*", accounts: [GATEWAY] }
      { stream: "hfl.>", accounts: [GATEWAY] }
    ]
  }
  GATEWAY {
    imports = [
      { service: { account: STREAMS, subject: "$JS.API.DIRECT.GET.*" } }
      { service: { account: STREAMS, subject: "$JS.API.STREAM.MSG.GET.*" }, to: "HFJS.MSG.GET.*" }
      { service: { account: STREAMS, subject: "$JS.API.STREAM.INFO.*" }, to: "HFJS.INFO.*" }
      { service: { account: STREAMS, subject: "$JS.API.STREAM.NAMES" }, to: "HFJS.NAMES" }
      { service: { account: STREAMS, subject: "hf.*.*.*" } }
      { stream: { account: STREAMS, subject: "hfl.>" } }
    ]
    users = [ { user: gw, password: g, permissions: {
      publish: { allow: ["$JS.API.DIRECT.GET.*", "HFJS.>", "hf.*.*.*"] }
      subscribe: { allow: ["hfl.>", "hfc.w.*", "_INBOX_gw.>"] } } } ]
  }
  SYS { users = [ { user: sys, password: s } ] }
}
system_account: SYS
"""


async def test_a_gateway_in_an_account_of_its_own_with_few_rights(tmp_path: Path) -> None:
    """It reads, appends, probes, follows and sweeps; it can neither administer nor purge."""
    server = EmbeddedServer(tmp_path / "nats", port=0, extra_config=ACCOUNTS)
    await server.start()
    try:
        admin = server.url.replace("nats://", "nats://admin:a@")
        report = await provision([admin], max_bytes=10**7)
        assert report.ok, str(report)
        api = Api(message_get="HFJS.MSG.GET", stream_info="HFJS.INFO", stream_names="HFJS.NAMES")
        way = server.url.replace("nats://", "nats://gw:g@")
        source = JetStreamSource([way], sweep_seconds=0.1, api=api, options={"inbox_prefix": "_INBOX_gw"})
        await source.start()
        sink = Sink()
        source.open_feed(KEY, sink)
        await until(lambda: sink.caught_up)
        mine = await fill(source, KEY, 100)
        await until(lambda: sink.sequences == mine)
        assert await source.append(KEY, text("late"), 3) == Refused(100)
        assert await source.probe(KEY)
        tail = await source.tail(KEY)
        assert tail is not None
        assert tail.sequence == 100
        inc = await source.incarnation(KEY)
        assert [await source.locate(KEY, inc, s) for s in (50, 101)] == [Located.PRESENT, Located.FUTURE]
        partition = next(iter(source._partitions.values()))
        await until(lambda: partition.swept_to == 100)
        assert sink.troubles == 0
        with pytest.raises(SourceUnavailable):
            await ask(source._read_link, f"$JS.API.STREAM.PURGE.{source._place(KEY)[1]}", {}, 0.3)
        await source.close()
    finally:
        await server.close()


async def test_wrong_credentials_are_told_without_the_password(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0, extra_config=ACCOUNTS)
    await server.start()
    try:
        way = server.url.replace("nats://", "nats://gw:wrong@")
        with pytest.raises(SourceUnavailable, match=r"refused the credentials: .*Authorization") as told:
            await JetStreamSource([way]).start()
        assert "wrong" not in str(told.value)
    finally:
        await server.close()
