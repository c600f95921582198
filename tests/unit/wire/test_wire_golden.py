"""The contract's golden vectors against the code: what is encoded, what is read, what a log means."""

from __future__ import annotations

from typing import Any

import pytest
from tests.golden.vectors import Fold, StoredMessage, content, folds, load, stored_messages

from holdfast.wire import (
    NEW,
    Control,
    Cursor,
    Event,
    InvalidCursor,
    InvalidId,
    Namespace,
    Record,
    SessionKey,
    codec,
    decode,
    limits,
    step,
)
from holdfast.wire.run import Output, RunState
from holdfast.wire.subjects import StreamName, incarnation_at

VECTORS = load()
NAMED = {"ids": lambda case: case.name}


def shown(output: Output) -> dict[str, Any]:
    if isinstance(output, Control):
        return {"event": output.event, "data": dict(output.data), "counted": output.counted}
    return {"event": output.type, "data": output.text}


def expected_record(vector: dict[str, Any], sequence: int) -> Record:
    fields = {**vector, "sequence": sequence, "kind": codec.Kind(vector["kind"])}
    fields["events"] = tuple(Event(content(data), name) for data, name in vector.get("events", ()))
    return Record(**fields)


def test_limits_are_those_of_the_contract() -> None:
    """Every number that both sides must agree on stands in the vectors."""
    assert VECTORS["contract"] == limits.CONTRACT_VERSION
    for name, value in VECTORS["limits"].items():
        assert getattr(limits, name.upper()) == value, name


@pytest.mark.parametrize("vector", VECTORS["subjects"], ids=lambda v: v["stored"][:30])
def test_subjects(vector: dict[str, Any]) -> None:
    """A session's partition and subjects follow from its ids alone."""
    namespace = Namespace(vector["partitions"], vector["prefix"])
    key = SessionKey.of(vector["session"], vector["tenant"])
    assert namespace.partition(key) == vector["partition"]
    assert namespace.stored(key) == vector["stored"]
    assert namespace.live(key) == vector["live"]
    assert namespace.key_of(vector["stored"]) == namespace.key_of(vector["live"]) == key


def test_ids() -> None:
    """Ids are one subject token each, and nothing else is taken."""
    for good in VECTORS["ids"]["good"]:
        assert SessionKey.of(good, good).session == good
    for bad in VECTORS["ids"]["bad"]:
        with pytest.raises(InvalidId):
            SessionKey.of(bad)
        with pytest.raises(InvalidId):
            SessionKey.of("s", bad)


def test_stream_names() -> None:
    """A stream's name says prefix, partition and incarnation, and foreign names say nothing."""
    for vector in VECTORS["streams"]["good"]:
        name = StreamName(vector["prefix"], vector["partition"], vector["incarnation"])
        assert StreamName.parse(vector["name"]) == name
        assert Namespace(1024, name.prefix).stream_name(name.partition, name.incarnation) == vector["name"]
    for bad in VECTORS["streams"]["bad"]:
        assert StreamName.parse(bad) is None
    for vector in VECTORS["incarnations"]:
        assert incarnation_at(vector["unix_seconds"]) == vector["incarnation"]


def test_cursors() -> None:
    """Cursors have one form; whatever no gateway issued is refused."""
    for vector in VECTORS["cursors"]["good"]:
        cursor = Cursor(vector["incarnation"], vector["sequence"], vector["item"])
        assert str(cursor) == vector["text"]
        assert Cursor.parse(vector["text"]) == cursor
    for bad in VECTORS["cursors"]["bad"]:
        with pytest.raises(InvalidCursor):
            Cursor.parse(bad)


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: v["name"])
def test_messages_are_encoded_so(vector: dict[str, Any]) -> None:
    """Each kind of message has exactly these headers and this body."""
    call, arguments = vector["make"]
    if call == "data":
        arguments = {**arguments, "events": [Event(content(e[0]), *e[1:]) for e in arguments["events"]]}
    draft = getattr(codec, call)(**arguments)
    assert dict(draft.headers) == vector["headers"]
    assert draft.body == vector["body"].encode()
    assert draft.kind == vector["record"]["kind"]


@pytest.mark.parametrize("case", [*stored_messages("messages"), *stored_messages("malformed")], **NAMED)
def test_messages_are_read_so(case: StoredMessage) -> None:
    """Every stored message, well made or not, has one meaning."""
    record = decode(9, case.headers, case.body, previous=8, time_seconds=1.5)
    assert record == expected_record({**case.record, "previous": 8, "time_seconds": 1.5}, 9)


@pytest.mark.parametrize("case", list(folds()), **NAMED)
def test_logs_mean_this(case: Fold) -> None:
    """Each record of a log tells this, and the log leads to this state."""
    state = NEW
    for (sequence, headers, body), outputs in zip(case.log, case.outputs, strict=True):
        state, told = step(state, decode(sequence, headers, body))
        assert [shown(output) for output in told] == outputs, f"at {sequence}"
    compare(state, case.state)


def compare(state: RunState, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        actual = getattr(state, name)
        assert (list(actual) if isinstance(actual, tuple) else actual) == value, name
