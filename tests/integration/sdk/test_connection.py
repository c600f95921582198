"""What a broker can do to a client: be away, be killed, hang, come back empty, answer strangely."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import Callable

import pytest

import holdfast
from holdfast import connection, writer
from holdfast.connection import Connection
from holdfast.testing import NatsServer, create_streams

Servers = Callable[..., NatsServer]


async def texts(hf: holdfast.Holdfast, sid: str) -> list[str]:
    return [e.text async for e in hf.read(sid) if not e.control]


def link(hf: holdfast.Holdfast) -> Connection:
    found = hf._log._connection  # type: ignore[attr-defined]
    assert isinstance(found, Connection)
    return found


async def test_no_broker_is_said_with_every_url_and_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG), pytest.raises(holdfast.BrokerUnavailable) as caught:
        async with holdfast.connect("127.0.0.1:1,nats://127.0.0.1:2", timeout_seconds=0.5):
            pass
    assert time.monotonic() - began < 2.0
    assert caught.value.servers == ("nats://127.0.0.1:1", "nats://127.0.0.1:2")
    assert "127.0.0.1:2" in str(caught.value)
    assert [r for r in caplog.records if r.name.startswith(("nats", "holdfast"))] == []
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("holdfast")]
    assert left == [], "a client that never came to be goes on trying"


async def test_a_wrong_password_is_said_at_once(own_broker: Servers) -> None:
    server = own_broker(config='authorization { user: "a", password: "b" }')
    began = time.monotonic()
    with pytest.raises(holdfast.BrokerUnavailable, match=r"(?i)authorization") as caught:
        async with holdfast.connect(f"nats://x:secret@127.0.0.1:{server.port}", timeout_seconds=10):
            pass
    assert "secret" not in str(caught.value)
    assert time.monotonic() - began < 5.0
    await create_streams([f"nats://a:b@127.0.0.1:{server.port}"])
    async with holdfast.connect(f"nats://a:b@127.0.0.1:{server.port}") as hf:
        await hf.pipe("s", ["in"])


async def test_no_streams_names_the_command(own_broker: Servers) -> None:
    server = own_broker()
    with pytest.raises(holdfast.NotProvisioned, match="holdfast-gateway provision --nats"):
        async with holdfast.connect(server.url):
            pass


async def _edit(server: NatsServer, name: str, change: Callable[[dict[str, object]], object], verb: str) -> None:
    link = Connection([server.url], connection.Access(), "test")
    await link.open(5)
    client = link._client
    info = json.loads((await client.request(f"$JS.API.STREAM.INFO.{name}", b"")).data)
    config = info["config"]
    change(config)
    request = json.dumps(config).encode() if verb == "UPDATE" else b""
    answer = json.loads((await client.request(f"$JS.API.STREAM.{verb}.{config['name']}", request)).data)
    assert "error" not in answer, answer
    await link.close()


async def test_another_contract_is_refused(own_broker: Servers) -> None:
    server = own_broker()
    (name,) = await create_streams([server.url])
    await _edit(server, name, lambda c: c["metadata"].update(holdfast_contract="2"), "UPDATE")  # type: ignore[attr-defined]
    with pytest.raises(holdfast.ContractMismatch) as caught:
        async with holdfast.connect(server.url):
            pass
    assert (caught.value.stream, caught.value.found, caught.value.wanted) == (name, "2", "1")


async def test_a_missing_partition_is_named(own_broker: Servers) -> None:
    server = own_broker()
    names = await create_streams([server.url], partitions=3)
    await _edit(server, names[1], lambda c: c, "DELETE")
    with pytest.raises(holdfast.NotProvisioned, match=r"partitions \[1\] are missing"):
        async with holdfast.connect(server.url):
            pass


async def _write_through(hf: holdfast.Holdfast, hurt: Callable[[], object], sessions: int = 10) -> None:
    """Write to many sessions while something is done to the broker; then compare what is stored."""
    wanted = [str(i) for i in range(120)]

    async def produce(sid: str) -> None:
        async with hf.session(sid) as s:
            for text in wanted:
                await s.write_async(text)
                await asyncio.sleep(0.008)

    async def hurting() -> None:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(hurt)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(hurting())
        for i in range(sessions):
            group.create_task(produce(f"through-{i}"))
    for i in range(sessions):
        assert await texts(hf, f"through-{i}") == wanted


async def test_killed_and_restarted_broker(own_broker: Servers) -> None:
    """Nothing lost, doubled or reordered; nobody had to do anything."""
    server = own_broker()
    await create_streams([server.url], partitions=2)

    def hurt() -> None:
        server.kill()
        time.sleep(0.5)
        server.start()

    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        await _write_through(hf, hurt)


async def test_hanging_broker(own_broker: Servers) -> None:
    """Everything times out, then everything is answered late."""
    server = own_broker()
    await create_streams([server.url])

    def hurt() -> None:
        server.signal(signal.SIGSTOP)
        time.sleep(1.5)
        server.signal(signal.SIGCONT)

    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        await _write_through(hf, hurt)


async def test_a_dead_read_loop_is_found_although_is_connected_says_yes(own_broker: Servers) -> None:
    """nats-py's reader can end silently; a probe notices within seconds and reconnects."""
    server = own_broker()
    await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        async with hf.session("s") as s:
            s.write("before")
            await s.drain()
            client = link(hf)._client
            client._reading_task.cancel()
            client._ping_interval_task.cancel()
            await asyncio.sleep(0)
            assert client.is_connected
            s.write("after")
            async with asyncio.timeout(8):
                await s.drain()
        assert await texts(hf, "s") == ["before", "after"]


async def test_a_client_that_closed_for_good_is_replaced(own_broker: Servers) -> None:
    """Some server errors make nats-py give up; sessions, readers and nudges go on with a new client."""
    server = own_broker()
    await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf, holdfast.connect(server.url) as other:
        async with hf.session("s") as s:
            s.write("before")
            await s.drain()
            await link(hf)._client.close()
            s.write("after")
            async with asyncio.timeout(8):
                await s.drain()
            assert await other.cancel("s") == "cancelled"
            async with asyncio.timeout(1):
                await s.cancelled.wait()
        assert await texts(hf, "s") == ["before", "after"]


async def test_unknown_internals_of_nats_py_fall_back_with_a_warning(
    url: str, sid: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "tap", lambda *_: False)
    async with holdfast.connect(url, handle_sigterm=False) as hf:
        async with hf.session(sid) as s:
            for i in range(50):
                s.write(str(i))
                await asyncio.sleep(0.001)
        assert await texts(hf, sid) == [str(i) for i in range(50)]
    assert "slower public interface" in caplog.text


async def test_no_answer_for_too_long_is_uncertain(own_broker: Servers) -> None:
    server = own_broker()
    await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        s = await hf.session("s", give_up_seconds=0.5).open()
        server.kill()
        s.write("a")
        with pytest.raises(holdfast.Uncertain) as caught:
            async with asyncio.timeout(6):
                await s.drain()
        assert (caught.value.stored_events, caught.value.pending_events) == (0, 1)


async def test_opening_without_a_broker_is_bounded(own_broker: Servers) -> None:
    server = own_broker()
    await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        server.kill()
        with pytest.raises(holdfast.BrokerUnavailable, match="could not be opened"):
            await hf.session("s", open_timeout_seconds=0.5).open()


async def test_purged_under_the_writer(own_broker: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never continues at 0."""
    monkeypatch.setattr(writer, "BELIEVE_SECONDS", 0.3)
    server = own_broker()
    await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        s = await hf.session("s").open()
        s.write("a")
        await s.drain()
        assert await hf._log.purge(s._place, 1 << 40)
        s.write("b")
        with pytest.raises(holdfast.SessionExpired):
            await s.drain()
        with pytest.raises(holdfast.SessionNotFound):
            _ = [e async for e in hf.read("s", wait_seconds=0)]


async def test_recreated_stream_is_not_taken_for_the_old_one(own_broker: Servers) -> None:
    """The same sequence in a new incarnation is a stranger's; new sessions find the new stream."""
    server = own_broker()
    (name,) = await create_streams([server.url])
    async with holdfast.connect(server.url, handle_sigterm=False) as hf:
        s = await hf.session("s").open()
        await _edit(server, name, lambda c: c, "DELETE")
        await create_streams([server.url])
        s.write("a")
        with pytest.raises(holdfast.StreamReplaced):
            async with asyncio.timeout(5):
                await s.drain()
        async with asyncio.timeout(5):
            while hf._place("s").stream == name:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await hf.pipe("s", ["b"])
        assert await texts(hf, "s") == ["b"]


async def test_sigterm_handler_leaves_an_application_s_own_alone(url: str) -> None:
    mine: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda *_: mine.append(1))
    try:
        async with holdfast.connect(url):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.05)
        assert mine == [1]
    finally:
        signal.signal(signal.SIGTERM, before)
