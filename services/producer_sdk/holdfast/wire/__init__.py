"""The wire contract: what both sides of the log agree on. Standard library only, no I/O. Text: docs/protocol.md."""

from holdfast.wire.codec import Batch, Draft, Kind, Record, decode
from holdfast.wire.cursor import Cursor
from holdfast.wire.errors import ContractError, EventTooLarge, HoldfastError, InvalidCursor, InvalidEventType, InvalidId
from holdfast.wire.event import Event, event, text_of
from holdfast.wire.run import NEW, Control, Output, Phase, RunState, fences, fold, step
from holdfast.wire.subjects import Namespace, SessionId, SessionKey, StreamName, TenantId

__all__ = [
    "NEW",
    "Batch",
    "ContractError",
    "Control",
    "Cursor",
    "Draft",
    "Event",
    "EventTooLarge",
    "HoldfastError",
    "InvalidCursor",
    "InvalidEventType",
    "InvalidId",
    "Kind",
    "Namespace",
    "Output",
    "Phase",
    "Record",
    "RunState",
    "SessionId",
    "SessionKey",
    "StreamName",
    "TenantId",
    "decode",
    "event",
    "fences",
    "fold",
    "step",
    "text_of",
]
