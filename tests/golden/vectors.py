"""The contract's golden vectors, for both sides' tests: another implementation would load the same file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent


class StoredMessage(NamedTuple):
    """A message as it stands in the log, and the record it is to be read as."""

    name: str
    headers: dict[str, str]
    body: bytes
    record: dict[str, Any]


class Fold(NamedTuple):
    """A log, what each of its records is to tell, and the state it leads to (only the fields that are named)."""

    name: str
    log: list[tuple[int, dict[str, str], bytes]]
    outputs: list[list[dict[str, Any]]]
    state: dict[str, Any]


def load(contract: int = 1) -> dict[str, Any]:
    """All vectors of a contract version, as JSON has them."""
    vectors: dict[str, Any] = json.loads((_HERE / f"contract-{contract}.json").read_text("utf-8"))
    assert vectors["contract"] == contract
    return vectors


def content(text: str) -> bytes:
    """The bytes of an event's data in a vector: text, or `hex:` where it is not UTF-8."""
    return bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()


def body(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector.get("body", "").encode()


def stored_messages(section: str) -> Iterator[StoredMessage]:
    """The messages of `messages` (well made) or `malformed` (what anyone may have stored)."""
    for vector in load()[section]:
        yield StoredMessage(vector["name"], vector["headers"], body(vector), vector["record"])


def folds() -> Iterator[Fold]:
    for vector in load()["folds"]:
        log = [(vector["first"] + at, record["headers"], body(record)) for at, record in enumerate(vector["log"])]
        yield Fold(vector["name"], log, vector["outputs"], vector["state"])
