"""The fast parser does what nats-py's own parser does, for any bytes a server sends, however they are cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from holdfast_gateway.broker.jetstream import natspy
from holdfast_gateway.broker.jetstream.fastparse import MAX_LINE_BYTES, FastParser

DIRECT = (1, 7, 30)


class Recorder:
    """Stands where nats-py's client stands, and writes down what the parser hands over."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self._pings_outstanding = 2

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        reply = b"" if sid in DIRECT else reply
        self.seen.append(("msg", sid, bytes(subject), bytes(reply), bytes(data), headers and bytes(headers)))

    async def _process_ping(self) -> None:
        self.seen.append(("ping",))

    async def _process_pong(self) -> None:
        self.seen.append(("pong",))

    async def _process_err(self, text: str) -> None:
        self.seen.append(("err", text))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.seen.append(("info", info))


def drive(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def fast(recorder: Recorder) -> FastParser:
    def fail(failure: Exception) -> None:
        raise AssertionError("no callback fails here") from failure

    parser = FastParser(recorder, fail)
    for sid in DIRECT:

        def take(subject: bytes, block: bytes | None, payload: bytes, sid: int = sid) -> None:
            recorder.seen.append(("msg", sid, subject, b"", payload, block))

        parser.direct[b"%d" % sid] = take
    return parser


token = st.text("abcXYZ0129_-", min_size=1, max_size=6)
subject = st.lists(token, min_size=1, max_size=4).map(lambda parts: ".".join(parts).encode())
payload = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n", b"x" * 5000, b"\r", b"\n", b"+OK\r\n-ERR 'x'\r\n"]
    ),
)
# Every server's blocks begin like this. (nats-py takes a block of digits for part of the line before it.)
block = st.one_of(
    st.sampled_from([b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n"]),
    st.binary(max_size=30).map(lambda noise: b"NATS/1.0" + noise),
)


@st.composite
def message(draw: st.DrawFn) -> bytes:
    sid = draw(st.sampled_from([*DIRECT, 2, 99]))
    words = [draw(subject), b"%d" % sid]
    if draw(st.booleans()):
        words.append(draw(subject))
    body = draw(payload)
    if draw(st.booleans()):
        head = draw(block)
        words += [b"%d" % len(head), b"%d" % (len(head) + len(body))]
        return b"HMSG " + b" ".join(words) + b"\r\n" + head + body + b"\r\n"
    return b"MSG " + b" ".join([*words, b"%d" % len(body)]) + b"\r\n" + body + b"\r\n"


control = st.sampled_from(
    [
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'Stale Connection'\r\n",
        b'INFO {"server_id":"x","n":1}\r\n',
        b"PING \r\n",
    ]
)


@given(st.lists(st.one_of(message(), message(), control), max_size=12), st.data())
def test_any_protocol_cut_anywhere_reads_the_same(parts: list[bytes], data: st.DataObject) -> None:
    """Same messages, same order, same header bytes; and nothing is left over that the other has handled."""
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    theirs, ours = Recorder(), Recorder()
    old, new = Parser(theirs), fast(ours)
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        drive(old.parse(stream[begin:end]))
        drive(new.parse(stream[begin:end]))
        assert ours.seen == theirs.seen
    assert new._rest == b""


@given(st.lists(st.one_of(message(), control, st.binary(max_size=20)), max_size=6), st.data())
def test_garbage_ends_in_a_protocol_error_or_waits_for_more(parts: list[bytes], data: st.DataObject) -> None:
    """Nothing else is ever raised: any other exception would end nats-py's read loop without a word."""
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    parser = fast(Recorder())
    with contextlib.suppress(ProtocolError):
        drive(parser.parse(stream[:cut]))
        drive(parser.parse(stream[cut:]))


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a x 1\r\n",
        b"MSG a 1\r\n",
        b"HMSG a 1 9 3\r\n",
        b"MSG a 1 -5\r\n",
        b"HELLO\r\n",
        b"HMSG a 1 3\r\n",
        b"WHAT\r\n",
    ],
)
async def test_a_malformed_line_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        await fast(Recorder()).parse(line + b"abcdefghijkl\r\n")


async def test_a_control_line_without_end_is_refused() -> None:
    parser = fast(Recorder())
    await parser.parse(b"INFO {" + b"x" * 1000)
    with pytest.raises(ProtocolError):
        await parser.parse(b"x" * MAX_LINE_BYTES)


async def test_a_callback_that_raises_is_reported_and_harms_nothing_else() -> None:
    recorder, failures = Recorder(), []
    parser = FastParser(recorder, failures.append)

    def broken(subject: bytes, block: bytes | None, payload: bytes) -> None:
        raise ValueError("a bug")

    parser.direct[b"1"] = broken
    await parser.parse(b"MSG a 1 1\r\nx\r\nMSG b 2 1\r\ny\r\n")
    assert [str(f) for f in failures] == ["a bug"]
    assert recorder.seen == [("msg", 2, b"b", b"", b"y", None)]


async def test_what_nats_py_raises_becomes_a_protocol_error() -> None:
    """nats-py reconnects on it; on anything else its read loop ends while the client stays "connected"."""

    class Broken(Recorder):
        async def _process_ping(self) -> None:
            raise AttributeError("a bug in nats-py")

    failures: list[Exception] = []
    with pytest.raises(ProtocolError):
        await FastParser(Broken(), failures.append).parse(b"PING\r\n")
    assert len(failures) == 1


async def test_a_pong_whose_waiter_is_gone_kills_nothing() -> None:
    """With nats-py alone, a flush that timed out poisons the answer to its PING."""
    client = Client()
    ping: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ping.cancel()
    client._pongs = [ping]
    client._pings_outstanding = 2
    await FastParser(client, lambda failure: None).parse(b"PONG\r\n")
    assert client._pings_outstanding == 0


async def test_a_reset_from_within_drops_what_is_left_of_the_old_connection() -> None:
    class Resetting(Recorder):
        parser: FastParser

        async def _process_msg(self, *args: Any) -> None:
            await super()._process_msg(*args)
            self.parser.reset()

    recorder = Resetting()
    recorder.parser = parser = fast(recorder)
    await parser.parse(b"MSG a 2 1\r\nx\r\nMSG b 2 1\r\ny\r\nMSG c 2 9\r\nhalf")
    assert len(recorder.seen) == 1
    await parser.parse(b"PING\r\n")
    assert recorder.seen[1:] == [("ping",)]


def test_it_knows_the_nats_py_it_was_written_for() -> None:
    assert natspy.knows(Client()) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c, m: setattr(c, "_ps", object()), "_ps"),
        (lambda c, m: setattr(c, "_subs", []), "_subs"),
        (lambda c, m: m.setattr(Client, "_process_msg", lambda self: None), "_process_msg"),
        (lambda c, m: m.delattr(Client, "force_reconnect"), "force_reconnect"),
        (lambda c, m: m.setattr(Parser, "parse", lambda self: None), "Parser.parse"),
    ],
)
def test_it_does_not_know_another(change: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    change(client, monkeypatch)
    assert told in str(natspy.knows(client))
