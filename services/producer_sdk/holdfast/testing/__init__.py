"""For your tests: an in-memory twin, a real nats-server, and pytest fixtures.

    async with holdfast.testing.memory() as hf:      # no server, same API and rules
        await app.answer(hf, "chat-42")
        assert [e.text async for e in hf.read("chat-42") if not e.control] == ["Hello"]

With `pytest_plugins = ["holdfast.testing.fixtures"]` in your `conftest.py` there are the fixtures `holdfast_memory`,
`holdfast_server` (a real nats-server of this machine), `holdfast_client` and `holdfast_container` (the same in Docker).
"""

from holdfast.testing.cluster import NatsCluster
from holdfast.testing.memory import MemoryBroker, MemoryLog, memory
from holdfast.testing.server import NatsServer, find_binary
from holdfast.testing.streams import create_streams

__all__ = ["MemoryBroker", "MemoryLog", "NatsCluster", "NatsServer", "create_streams", "find_binary", "memory"]
