"""Appends by expected sequence, and what their answers mean (docs/protocol.md, "Settling")."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from holdfast.wire import headers as h
from holdfast.wire.codec import Draft
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.ports import Appended, AppendResult, Refused, SourceUnavailable, Unsettled

APPEND_SECONDS = 5.0
PROBE_SECONDS = 1.0

WRONG_LAST_SEQUENCE = 10071
WRONG_STREAM = 10060

_IMPOSSIBLE = (1 << 62) + 1
_ACTUAL = re.compile(r"wrong last sequence: ([0-9]{1,19})")


def classify(body: bytes) -> tuple[AppendResult, int]:
    """The meaning of a PubAck, and its error code (0: none). Every error carries `"seq":0`: `error` first."""
    try:
        answer = json.loads(body)
        error = answer.get("error")
        if error is None:
            return Appended(int(answer["seq"])), 0
        code, description = int(error.get("err_code", 0)), str(error.get("description", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unsettled("the broker's answer could not be read"), 0
    if code == WRONG_LAST_SEQUENCE:
        actual = _ACTUAL.search(description)
        return Refused(int(actual.group(1)) if actual else None), code
    if code == WRONG_STREAM:  # another incarnation: not stored, and what is there is not ours to compare
        return Refused(None), code
    return Unsettled(f"{description} ({code})"), code


async def append(
    link: Link, stream: str, subject: str, draft: Draft, expected: int | None, timeout_seconds: float = APPEND_SECONDS
) -> tuple[AppendResult, int]:
    """Append once. Never raises for the broker's doing; cancelling it leaves the append unsettled."""
    headers: dict[str, str] = {**draft.headers, h.EXPECTED_STREAM: stream}
    if expected is not None:
        headers[h.EXPECTED_LAST] = str(expected)
    try:
        _, body = await link.request(subject, draft.body, headers=headers, timeout_seconds=timeout_seconds)
    except SourceUnavailable as unknown:
        return Unsettled(str(unknown)), 0
    return classify(body)


async def probe(link: Link, stream: str, subject: str) -> tuple[bool, int]:
    """Whether the leader takes appends: one that must fail with 10071. Were it ever stored, every reader would skip
    it."""
    headers: Mapping[str, str] = {
        h.KIND: "probe",
        h.EXPECTED_STREAM: stream,
        h.EXPECTED_LAST: str(_IMPOSSIBLE),
    }
    try:
        _, body = await link.request(subject, b"", headers=headers, timeout_seconds=PROBE_SECONDS)
    except SourceUnavailable:
        return False, 0
    result, code = classify(body)
    return isinstance(result, Refused) and code == WRONG_LAST_SEQUENCE, code
