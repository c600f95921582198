"""Holdfast: resumable, multi-viewer streams for AI services, on NATS JetStream.

async with holdfast.connect() as hf:
    async with hf.session("chat-42") as s:
        async for token in model:
            s.write(token)
"""

from holdfast.client import Holdfast, connect
from holdfast.errors import (
    BrokerRewound,
    BrokerUnavailable,
    BufferFull,
    ContractError,
    ContractMismatch,
    EventTooLarge,
    HoldfastError,
    InvalidCursor,
    InvalidEventType,
    InvalidId,
    NotProvisioned,
    NotResumable,
    SessionCancelled,
    SessionClosed,
    SessionExpired,
    SessionFenced,
    SessionNotFound,
    SessionOpen,
    StreamReplaced,
    Uncertain,
)
from holdfast.pipes import PipeResult
from holdfast.reading import StreamEvent
from holdfast.session import Session
from holdfast.wire import Cursor, Event, RunState

__version__ = "0.1.0"

__all__ = [
    "BrokerRewound",
    "BrokerUnavailable",
    "BufferFull",
    "ContractError",
    "ContractMismatch",
    "Cursor",
    "Event",
    "EventTooLarge",
    "Holdfast",
    "HoldfastError",
    "InvalidCursor",
    "InvalidEventType",
    "InvalidId",
    "NotProvisioned",
    "NotResumable",
    "PipeResult",
    "RunState",
    "Session",
    "SessionCancelled",
    "SessionClosed",
    "SessionExpired",
    "SessionFenced",
    "SessionNotFound",
    "SessionOpen",
    "StreamEvent",
    "StreamReplaced",
    "Uncertain",
    "__version__",
    "connect",
]
