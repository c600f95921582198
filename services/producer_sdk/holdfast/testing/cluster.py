"""Three real nats-servers as one cluster, for tests of what one node hides."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType

from holdfast.testing.server import NatsServer


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class NatsCluster:
    """`with NatsCluster(tmp_path) as cluster: ... cluster.urls`. Nodes are `NatsServer`s, to kill and start again."""

    def __init__(self, directory: Path, *, nodes: int = 3) -> None:
        ports = free_ports(nodes * 2)
        routes = json.dumps([f"nats://127.0.0.1:{p}" for p in ports[nodes:]])
        self.nodes = [
            NatsServer(
                directory / f"n{i}",
                name=f"n{i}",
                port=ports[i],
                config=f"cluster {{ name: test, listen: 127.0.0.1:{ports[nodes + i]}, routes: {routes} }}",
            )
            for i in range(nodes)
        ]

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def node(self, name: str) -> NatsServer:
        """The node of that name, as the servers themselves call it."""
        return next(n for n in self.nodes if n.name == name)

    def __enter__(self) -> NatsCluster:
        try:
            for node in self.nodes:
                node.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
