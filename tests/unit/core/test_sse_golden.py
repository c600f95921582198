"""The contract's golden vectors on the gateway's side: what the broker hands over, and the bytes that viewers get."""

from __future__ import annotations

from typing import Any

import pytest
from tests.golden.vectors import Fold, StoredMessage, folds, load, stored_messages
from tests.sse_parser import interpret

from holdfast.wire import NEW, Control, Event, decode, step
from holdfast_gateway.broker.jetstream import decode as broker
from holdfast_gateway.core import sse

BROKER = (
    "Nats-Stream: HOLDFAST_0_m1x2\r\nNats-Subject: hf.0.default.chat-42\r\nNats-Sequence: 9\r\n"
    "Nats-Time-Stamp: 2026-11-22T12:34:56.5Z\r\nNats-Last-Sequence: 8\r\n"
)


def output(vector: dict[str, Any]) -> Event | Control:
    if "counted" in vector:
        return Control(vector["event"], vector["data"], vector["counted"])
    return Event(vector["data"].encode(), vector["event"])


@pytest.mark.parametrize("case", [*stored_messages("messages"), *stored_messages("malformed")], ids=lambda c: c.name)
def test_the_broker_hands_over_the_same_record(case: StoredMessage) -> None:
    """Republished with the broker's headers behind the producer's, a message reads as the contract says."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in case.headers.items())
    record = broker.live(f"NATS/1.0\r\n{lines}{BROKER}\r\n".encode(), case.body)
    seconds = broker.unix_seconds("2026-11-22T12:34:56.5Z")
    assert record == decode(9, case.headers, case.body, previous=8, time_seconds=seconds)


@pytest.mark.parametrize("vector", load()["frames"], ids=lambda v: v["name"])
def test_frames_are_these_bytes(vector: dict[str, Any]) -> None:
    """Every pod, of every version that speaks this contract, sends the same bytes."""
    outputs = [output(o) for o in vector["outputs"]]
    assert sse.encode(vector["incarnation"], vector["sequence"], outputs).data == vector["text"].encode()


@pytest.mark.parametrize("case", list(folds()), ids=lambda c: c.name)
def test_logs_reach_viewers_as_told(case: Fold) -> None:
    """A log's outputs, framed and interpreted as a browser does, are the outputs of the vectors."""
    state, stream = NEW, b""
    for sequence, headers, body in case.log:
        state, told = step(state, decode(sequence, headers, body))
        stream += sse.encode("m1x2", sequence, told).data
    expected = [o["event"] for outputs in case.outputs for o in outputs]
    assert [message.type for message in interpret(stream).messages] == expected
