"""Listening sockets, bound before anything else starts: a busy port is said at once, with the way out."""

from __future__ import annotations

import errno
import os
import socket


class CannotListen(Exception):
    """The address cannot be listened on. The message says why and what to do."""

    def __init__(self, host: str, port: int, flag: str, cause: OSError) -> None:
        self.host = host
        self.port = port
        env = "HOLDFAST_" + flag.removeprefix("--").replace("-", "_").upper()
        if cause.errno == errno.EADDRINUSE:
            why = (
                f"port {port} on {host} is in use. Choose another with {flag} {port + 1} (or {env}={port + 1}), "
                f"let the system choose with {flag} 0, or stop the program that has it (ss -ltnp 'sport = :{port}')"
            )
        elif cause.errno == errno.EACCES:
            why = f"port {port} needs more rights than this user has. Choose one above 1023 with {flag} (or {env})"
        else:
            why = f"cannot listen on {host}:{port}: {cause.strerror or cause}"
        super().__init__(why)


def bind(host: str, port: int, *, flag: str = "--port", share: bool = False) -> socket.socket:
    """A bound socket that does not listen yet.

    `share` sets SO_REUSEPORT, so that the workers of one gateway divide the connections among them. A first bind
    without it makes sure that nobody else has the port: two gateways must not share one by mistake.

    Raises:
        CannotListen: the port is taken, or may not be used.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = _bound(family, kind, proto, address, share=False)
        if share:
            taken = sock.getsockname()
            sock.close()
            sock = _bound(family, kind, proto, taken, share=True)
    except OSError as cause:
        raise CannotListen(host, port, flag, cause) from None
    return sock


def join(host: str, port: int) -> socket.socket:
    """A worker's own socket on the port that its supervisor holds. Raises `CannotListen`."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _bound(family, kind, proto, address, share=True)
    except OSError as cause:
        raise CannotListen(host, port, "--port", cause) from None


def _bound(family: int, kind: int, proto: int, address: object, *, share: bool) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)  # type: ignore[arg-type]
        sock.setblocking(False)
        sock.set_inheritable(False)
    except OSError:
        sock.close()
        raise
    return sock


def url_of(sock: socket.socket) -> str:
    """The address as people open it: a wildcard is shown as this machine."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::", "127.0.0.1", "::1"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
