"""Where the broker is looked for."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast.discovery import DEFAULT_URL, find_servers


def note(folder: Path, content: str) -> None:
    (folder / ".holdfast").mkdir()
    (folder / ".holdfast" / "dev.json").write_text(content)


def test_the_argument_wins(tmp_path: Path) -> None:
    note(tmp_path, json.dumps({"nats_url": "nats://dev"}))
    assert find_servers("a:1, tls://b ,", env={"HOLDFAST_NATS_URL": "x"}, start=tmp_path) == ["nats://a:1", "tls://b"]
    assert find_servers(["nats://a", "b"], env={}, start=tmp_path) == ["nats://a", "nats://b"]


def test_then_the_environment_then_the_dev_gateway(tmp_path: Path) -> None:
    note(tmp_path, json.dumps({"nats_url": "nats://dev", "gateway_url": "http://x"}))
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_servers(env={"HOLDFAST_NATS_URL": "nats://e,nats://f"}, start=deep) == ["nats://e", "nats://f"]
    assert find_servers(env={}, start=deep) == ["nats://dev"]


def test_a_broken_note_is_no_note(tmp_path: Path) -> None:
    for i, content in enumerate(["{", "[]", "{}", '{"nats_url": 3}']):
        (tmp_path / str(i)).mkdir()
        note(tmp_path / str(i), content)
        assert find_servers(env={}, start=tmp_path / str(i)) == [DEFAULT_URL]
