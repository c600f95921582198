"""Ports for servers that are killed and come back on the same one."""

from __future__ import annotations

import random
import socket

# Below the ephemeral ranges of Linux and macOS, or an outgoing connection could take the port of a killed server.
FIRST, LAST = 12_000, 31_000


class FreePorts:
    """Hands out ports that nobody listens on and that it has not handed out before."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self) -> int:
        """One free port."""
        while True:
            port = random.SystemRandom().randrange(FIRST, LAST)
            if port in self._given:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self._given.add(port)
            return port
