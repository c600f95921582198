"""UI message streams that the AI SDK itself makes, in node, through the adapter and back into the AI SDK."""

from __future__ import annotations

import subprocess

import pytest

from holdfast.adapters import UpstreamError, ui_message_stream
from tests.adapters.reading import NODE, collect, named, part, said, ui_message, until_error


def made(kind: str) -> bytes:
    """An HTTP body of the AI SDK's own `createUIMessageStreamResponse`."""
    done = subprocess.run(
        ["node", str(NODE / "make_ui_stream.mjs"), kind], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_an_http_body_in_pieces(size: int) -> None:
    """A body's pieces end anywhere, also inside a character; the message is the same."""
    body = made("answer")

    async def pieces() -> object:
        for i in range(0, len(body), size):
            yield body[i : i + size]

    read = ui_message(await collect(ui_message_stream(pieces())))
    assert read["errors"] == []
    assert part(read["message"], "text")["text"] == "Grüße, 世界"
    assert part(read["message"], "data-weather")["data"] == {"city": "Ulm"}


async def test_for_a_front_end_of_one_s_own() -> None:
    events = await collect(ui_message_stream(made("answer").decode(), to="chat"))
    assert said(events) == "Grüße, 世界"
    assert named(events, "weather") == [{"city": "Ulm"}]


async def test_an_error_chunk_is_passed_on_and_raised() -> None:
    got, error = await until_error(ui_message_stream([made("error")]))
    assert isinstance(error, UpstreamError)
    assert str(error) == "no luck"
    assert ui_message(got)["errors"] == ["Error: no luck"]
