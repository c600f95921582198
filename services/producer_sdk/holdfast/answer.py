"""What the broker said to one append, read once, at the border.

Every error ack also carries `"seq": 0`, so the error is looked at first. What is not listed here is unknown: the same
bytes may be sent again, because the expected sequence lets them land once at most.
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from typing import Final, NamedTuple


class Verdict(IntEnum):
    """The five things an append's answer can mean."""

    STORED = 0
    """In the log at `sequence`."""
    REFUSED = 1
    """Not stored by this attempt: the subject's last message is `sequence`, not the expected one."""
    UNKNOWN = 2
    """Time-out, no responders, another append in process: stored now, later, or never."""
    TOO_LARGE = 3
    """Over a limit of the broker's, for ever."""
    GONE = 4
    """The stream is not the one that was named."""


class Answer(NamedTuple):
    """One append's answer. `sequence` belongs to STORED and REFUSED, `why` is for people."""

    verdict: Verdict
    sequence: int = 0
    why: str = ""


_WRONG_LAST: Final = 10071
_IN_PROCESS: Final = 10164
_NOT_THIS_STREAM: Final = 10060
_TOO_LARGE: Final = frozenset({10054, 10097})  # maximum message size, header size
_GOOD = re.compile(rb'\{"stream":"[A-Za-z0-9_-]+",(?: )?"seq":([1-9][0-9]{0,18})\}')
_ACTUAL = re.compile(r"wrong last sequence: ([0-9]{1,19})$")


def unknown(why: str) -> Answer:
    return Answer(Verdict.UNKNOWN, 0, why)


def read_ack(body: bytes) -> Answer:
    """Read a JetStream publish ack. Total: what cannot be read is unknown."""
    good = _GOOD.fullmatch(body)  # nearly all of them, at a third of what JSON costs
    if good is not None:
        return Answer(Verdict.STORED, int(good.group(1)))
    try:
        ack = json.loads(body)
        error = ack.get("error")
        if error is None:
            sequence = ack["seq"]
            return (
                Answer(Verdict.STORED, sequence)
                if type(sequence) is int and sequence > 0
                else unknown("unreadable ack")
            )
        code, why = error.get("err_code", 0), str(error.get("description", ""))
    except (ValueError, AttributeError, KeyError, TypeError):
        return unknown("unreadable ack")
    if code == _WRONG_LAST:
        actual = _ACTUAL.search(why)
        return Answer(Verdict.REFUSED, int(actual.group(1)), why) if actual else unknown(why)
    if code == _NOT_THIS_STREAM:
        return Answer(Verdict.GONE, 0, why)
    if code in _TOO_LARGE:
        return Answer(Verdict.TOO_LARGE, 0, why)
    return unknown(f"{code} {why}")
