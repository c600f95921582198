"""Where the cluster is and how to get in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. `options` go to nats-py's `connect` (`user_credentials`, `tls`, `inbox_prefix`, ...)."""

    servers: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The servers without passwords, for messages."""
        return ", ".join(_without_secret(s) for s in self.servers)


def access(servers: Sequence[str], options: Mapping[str, Any]) -> Access:
    """Raises `ValueError` if there is no server."""
    if not servers:
        raise ValueError("at least one NATS server is needed")
    return Access(tuple(servers), dict(options))


def _without_secret(server: str) -> str:
    parts = urlsplit(server)
    if parts.username is None and parts.password is None:
        return server
    return urlunsplit(parts._replace(netloc=f"...@{parts.netloc.rpartition('@')[2]}"))
