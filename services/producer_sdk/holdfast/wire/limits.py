"""Numbers of the contract. Sizes in bytes; the reasons stand in docs/protocol.md, "Limits"."""

from __future__ import annotations

from typing import Final

CONTRACT_VERSION: Final = 1
"""Stored in every stream's metadata; a peer that speaks another version refuses to start."""

MAX_ID_CHARS: Final = 128
MAX_TYPE_CHARS: Final = 64
MAX_EVENT_BYTES: Final = 256 * 1024
"""One event alone in its message."""

MAX_BATCH_BYTES: Final = 64 * 1024
"""Body of a message that carries several events."""

MAX_BATCH_EVENTS: Final = 1024
MAX_HEADER_BYTES: Final = 8 * 1024
"""All headers of one message. nats-server refuses 64 KiB with 10097, for ever: stay far below."""

MAX_PAYLOAD_JSON_BYTES: Final = 16 * 1024
"""JSON body of a control message (result of an end, text of a failure)."""

MAX_PAYLOAD_DEPTH: Final = 32
"""Levels of that JSON, so that no reader's recursion limit decides what a record means."""

MAX_LEASE_SECONDS: Final = 86_400.0
MAX_REMEMBERED_CANCELS: Final = 16
"""Runs cancelled before their start that a reader remembers, newest first."""

DEFAULT_LEASE_SECONDS: Final = 30.0
