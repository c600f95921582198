"""A producer to play with: `python -m holdfast.demo chat-42 --rate 25 < answer.txt`.

Writes a text the way a model would, a few characters at a time, or passes on the answer of an OpenAI-compatible
endpoint (`--ask`, with the question on stdin; `HOLDFAST_OPENAI_URL`, `_MODEL`, `_KEY` say where). The development page
starts it as a process of its own, so that it can be killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import holdfast

_TOKEN: Final = re.compile(r"\s*\S{1,6}|\s+")
_ASK_SECONDS: Final = 120.0


def tokens(text: str) -> list[str]:
    """A text in pieces about as long as a model's. Joined again they are the text."""
    return _TOKEN.findall(text)


async def typed(text: str, rate: float) -> AsyncIterator[str]:
    """The text's tokens, `rate` of them a second on average: a late one does not delay those after it."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for place, token in enumerate(tokens(text)):
        await asyncio.sleep(max(0.0, begun + place / rate - loop.time()))
        yield token


def asked(prompt: str, url: str, model: str, key: str) -> Iterator[str]:
    """The answer of an OpenAI-compatible endpoint, as it comes.

    Raises:
        RuntimeError: the endpoint refused, or ended its answer early.
    """
    body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}], "stream": True}
    if model:
        body["model"] = model
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:
            yield from _deltas(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"the model's endpoint answered {error.code}") from None
    except OSError as error:
        raise RuntimeError(f"the model's endpoint cannot be reached: {error}") from None


def _deltas(lines: Any) -> Iterator[str]:
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        chunk = json.loads(data)
        if "error" in chunk:
            raise RuntimeError(f"the model failed: {chunk['error']}")
        for choice in chunk.get("choices", ()):
            if text := (choice.get("delta") or {}).get("content"):
                yield text
    raise RuntimeError("the model's answer ended early")


async def produce(session: str, tenant: str, source: AsyncIterator[str] | Iterator[str]) -> None:
    """One run of a session: start, the source's pieces, end; `failed` where the source fails."""
    async with holdfast.connect(tenant=tenant) as hf:
        await hf.pipe(session, source)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="holdfast.demo", description="Write a text as a model would.")
    parser.add_argument("session")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--rate", type=float, default=25.0, help="tokens a second")
    parser.add_argument("--ask", action="store_true", help="stdin is a question for the model")
    given = parser.parse_args(argv)
    text = sys.stdin.read()
    if given.ask:
        environ = os.environ
        url = environ.get("HOLDFAST_OPENAI_URL", "")
        if not url:
            parser.error("--ask needs HOLDFAST_OPENAI_URL")
        source: AsyncIterator[str] | Iterator[str] = asked(
            text, url, environ.get("HOLDFAST_OPENAI_MODEL", ""), environ.get("HOLDFAST_OPENAI_KEY", "")
        )
    else:
        source = typed(text, given.rate)
    asyncio.run(produce(given.session, given.tenant, source))
    return 0


if __name__ == "__main__":
    sys.exit(main())
