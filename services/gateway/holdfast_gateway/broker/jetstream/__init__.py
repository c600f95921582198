"""The session source over NATS JetStream."""

from holdfast_gateway.broker.jetstream.source import JetStreamSource
from holdfast_gateway.broker.jetstream.streams import Api

__all__ = ["Api", "JetStreamSource"]
