"""Reading events back as a front end does, also with the AI SDK itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from holdfast.adapters import Event

NODE = Path(__file__).parent / "node"


async def collect(events: AsyncGenerator[Event, None]) -> list[Event]:
    return [e async for e in events]


async def until_error(events: AsyncGenerator[Event, None]) -> tuple[list[Event], Exception]:
    """What came before the stream failed, and how it failed; that it does not is a failure of the test."""
    got: list[Event] = []
    try:
        async for e in events:
            got.append(e)
    except Exception as e:  # noqa: BLE001  (whatever it is, the test looks at it)
        return got, e
    raise AssertionError(f"the stream ended as if all were well, after {len(got)} events")


def said(events: list[Event]) -> str:
    """What an EventSource whose onmessage appends would show."""
    return "".join(e.text for e in events if e.type == "message")


def named(events: list[Event], name: str) -> list[Any]:
    """The JSON of the events of one name."""
    return [json.loads(e.data) for e in events if e.type == name]


def ui_message(events: list[Event]) -> dict[str, Any]:
    """The message the AI SDK makes of a UI stream, by its own transport and parser in node."""
    body = b"".join(b"data: " + e.data + b"\n\n" for e in events)
    done = subprocess.run(
        ["node", str(NODE / "read_ui_stream.mjs")], input=body, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def part(message: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [p for p in message["parts"] if p["type"] == kind]
    return dict(found)
