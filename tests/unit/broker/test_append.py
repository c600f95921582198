"""What the answers to an append mean."""

from __future__ import annotations

import json

import pytest

from holdfast_gateway.broker.jetstream.append import WRONG_STREAM, classify
from holdfast_gateway.ports import Appended, AppendResult, Refused, Unsettled


def error(code: int, description: str) -> bytes:
    """Every error carries a sequence and a stream too."""
    answer = {"error": {"code": 400, "err_code": code, "description": description}, "stream": "S", "seq": 0}
    return json.dumps(answer).encode()


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b'{"stream":"S","seq":7}', Appended(7)),
        (b'{"stream":"S","seq":7,"duplicate":true}', Appended(7)),
        (error(10071, "wrong last sequence: 5"), Refused(5)),
        (error(10071, "wrong last sequence: 0"), Refused(0)),
        (error(10071, "wrong last sequence"), Refused(None)),
        (error(WRONG_STREAM, "expected stream does not match"), Refused(None)),
    ],
)
def test_a_clear_answer(body: bytes, result: AppendResult) -> None:
    assert classify(body)[0] == result


@pytest.mark.parametrize(
    "body",
    [
        error(10164, "wrong last subject sequence: in process"),
        error(10077, "maximum bytes exceeded"),
        error(10008, "system temporarily unavailable"),
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"seq":"x"}',
        b'{"error":"strange"}',
        b'{"error":{"err_code":null}}',
    ],
)
def test_everything_else_may_be_committed_now_or_later(body: bytes) -> None:
    """10164 is no refusal: the leader has another append in process."""
    assert isinstance(classify(body)[0], Unsettled)
