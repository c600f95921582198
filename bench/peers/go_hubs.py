"""Mercure and Centrifugo, built from their Go modules where Go is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from bench.loadclient import BUILD, Target
from bench.peers.base import System
from bench.placement import Placement
from bench.process import Child, run, wait_for_port

_SESSIONS = 1000
_KEY = "a key of the benchmark, long enough for HS256"


def _build(module: str, version: str, package: str, binary: str) -> None:
    """Build one program at a pinned version, in a module of its own: that asks the proxy for nothing but its needs."""
    home = BUILD / "go" / binary
    if (home / binary).exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    (home / "go.mod").write_text(f"module bench\n\ngo 1.21\n\nrequire {module} {version}\n")
    run(["go", "build", "-mod=mod", "-o", binary, package], cwd=home)


def _jwt(claims: dict[str, Any]) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = part(b'{"alg":"HS256","typ":"JWT"}') + "." + part(json.dumps(claims).encode())
    return body + "." + part(hmac.new(_KEY.encode(), body.encode(), hashlib.sha256).digest())


class Mercure(System):
    """Bolt transport, so that it can resume, as its documentation recommends; anonymous viewers."""

    name = "mercure"
    way = "mercure"
    cells = frozenset("abcdefg")

    _VERSION = "v0.16.0"
    _BINARY = BUILD / "go" / "mercure" / "mercure"

    def install(self) -> None:
        _build("github.com/dunglas/mercure", self._VERSION, "github.com/dunglas/mercure/cmd/mercure", "mercure")

    def version(self) -> str:
        return self._VERSION

    def start(self, placement: Placement) -> None:
        port, directory = self.new_port(), self.scratch()
        env = {
            "ADDR": f"127.0.0.1:{port}",
            "JWT_KEY": _KEY,
            "ALLOW_ANONYMOUS": "1",
            "TRANSPORT_URL": f"bolt://{directory}/mercure.db?size=20000",
            "WRITE_TIMEOUT": "0s",
            "HEARTBEAT_INTERVAL": "40s",
        }
        hub = Child(
            "mercure", [str(self._BINARY)], cores=placement.system, env=env, cwd=directory, log=directory / "log"
        )
        self.children.append(hub)
        wait_for_port(port, hub)

    def viewers(self) -> Target:
        return Target(self.port, "/.well-known/mercure?topic=bench-%d")

    def replayers(self) -> Target:
        return Target(self.port, "/.well-known/mercure?topic=bench-%d", ("Last-Event-ID: earliest",))

    def publish_target(self) -> dict[str, Any]:
        return {**super().publish_target(), "token": _jwt({"mercure": {"publish": ["*"], "subscribe": ["*"]}})}


class Centrifugo(System):
    """Unidirectional SSE; a viewer's channel stands in its token."""

    name = "centrifugo"
    way = "centrifugo"
    cells = frozenset("abcdeg")
    absent: ClassVar = {"f": "unidirectional SSE has no resume by cursor"}

    _VERSION = "v5.4.9"
    _BINARY = BUILD / "go" / "centrifugo" / "centrifugo"

    def install(self) -> None:
        module = "github.com/centrifugal/centrifugo/v5"
        _build(module, self._VERSION, module, "centrifugo")

    def version(self) -> str:
        return self._VERSION

    def start(self, placement: Placement) -> None:
        port, directory = self.new_port(), self.scratch()
        config = directory / "config.json"
        settings = {
            "address": "127.0.0.1",
            "port": port,
            "token_hmac_secret_key": _KEY,
            "api_key": _KEY,
            "uni_sse": True,
            "log_level": "error",
            "history_size": 1000,
            "history_ttl": "600s",
        }
        config.write_text(json.dumps(settings))
        argv = [str(self._BINARY), "--config", str(config)]
        hub = Child("centrifugo", argv, cores=placement.system, cwd=directory, log=directory / "log")
        self.children.append(hub)
        wait_for_port(port, hub)
        self._paths = directory / "paths"
        self._paths.write_text("".join(f"{self._path(session)}\n" for session in range(_SESSIONS)))

    def _path(self, session: int) -> str:
        token = _jwt({"sub": "viewer", "channels": [f"bench-{session}"]})
        return "/connection/uni_sse?cf_connect=" + quote(json.dumps({"token": token}))

    def viewers(self) -> Target:
        return Target(self.port, "/", paths=Path(self._paths))

    def publish_target(self) -> dict[str, Any]:
        return {"port": self.port, "key": _KEY}
