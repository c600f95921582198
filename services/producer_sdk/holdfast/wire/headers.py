"""Header names, and a header block taken apart.

The broker adds its headers behind the producer's own, so a producer can forge only earlier ones: of several with
one name the last counts. Names are compared exactly as written, as the server does.
"""

from __future__ import annotations

from typing import Final

KIND: Final = "Holdfast-Kind"
WRITER: Final = "Holdfast-Writer"
INDEX: Final = "Holdfast-Index"
COUNT: Final = "Holdfast-Count"
RUN: Final = "Holdfast-Run"
LEASE: Final = "Holdfast-Lease"
TYPE: Final = "Holdfast-Type"
LENGTHS: Final = "Holdfast-Lengths"

EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_STREAM: Final = "Nats-Expected-Stream"

# Added by the broker to what it republishes and to Direct Get replies.
SEQUENCE: Final = "Nats-Sequence"
SUBJECT: Final = "Nats-Subject"
STREAM: Final = "Nats-Stream"
TIME_STAMP: Final = "Nats-Time-Stamp"
LAST_SEQUENCE: Final = "Nats-Last-Sequence"
NUM_PENDING: Final = "Nats-Num-Pending"
UP_TO_SEQUENCE: Final = "Nats-UpTo-Sequence"
MARKER_REASON: Final = "Nats-Marker-Reason"

_VERSION = b"NATS/1.0"


def parse_block(block: bytes | None) -> tuple[int, dict[str, str]]:
    """Take a raw NATS header block apart: `(status, headers)`, status 0 where there is none.

    Total: a line without a colon is skipped, bytes that are not UTF-8 are replaced. The last of equal names wins.
    """
    if not block or not block.startswith(_VERSION):
        return 0, {}
    lines = block.decode("utf-8", "replace").split("\r\n")
    inline = lines[0][len(_VERSION) :].strip()[:3]
    status = int(inline) if inline.isascii() and inline.isdigit() else 0
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name] = value.strip()
    return status, headers


def size_bytes(headers: dict[str, str]) -> int:
    """What a header block costs on the wire."""
    return 12 + sum(len(k) + len(v) + 4 for k, v in headers.items())


def number(value: str | None) -> int | None:
    """A header's non-negative integer, or None where it is absent or is not one."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 19:
        return None
    return int(value)
