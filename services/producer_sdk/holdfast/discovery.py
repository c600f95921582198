"""Where the broker is, when nobody says: the environment, then a dev gateway's note, then NATS's own port."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

DEFAULT_URL: Final = "nats://127.0.0.1:4222"
ENV_URL: Final = "HOLDFAST_NATS_URL"
ENV_CREDENTIALS: Final = "HOLDFAST_NATS_CREDS"
DEV_FILE: Final = Path(".holdfast") / "dev.json"


def find_servers(
    given: str | Iterable[str] | None = None, *, env: Mapping[str, str] | None = None, start: Path | None = None
) -> list[str]:
    """The servers to try: the argument, else `HOLDFAST_NATS_URL`, else `.holdfast/dev.json` here or in a parent
    directory, else nats://127.0.0.1:4222. A text may name several, separated by commas."""
    if given is None:
        given = (os.environ if env is None else env).get(ENV_URL) or dev_url(start)
    urls = given.split(",") if isinstance(given, str) else list(given or ())
    return [_with_scheme(url.strip()) for url in urls if url.strip()] or [DEFAULT_URL]


def dev_url(start: Path | None = None) -> str | None:
    """The NATS URL that a running `holdfast-gateway dev` left in `.holdfast/dev.json`, searched upward."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        try:
            note = json.loads((folder / DEV_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        url = note.get("nats_url") if isinstance(note, dict) else None
        if isinstance(url, str) and url:
            return url
    return None


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"nats://{url}"
