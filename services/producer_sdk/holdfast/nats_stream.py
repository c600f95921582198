"""The streamer on a Holdfast log: NATS underneath, and gateways can serve the same sessions."""

from __future__ import annotations

from holdfast.client import Holdfast
from holdfast.serving.nats_store import NatsStore
from holdfast.serving.streamer import ErrorText, StoreStreamer, class_name

__all__ = ["NatsSSEStreamer"]


class NatsSSEStreamer(StoreStreamer):
    """Sessions in a Holdfast log.

    Args:
        client: a connection of the caller's, which stays theirs. None: one is made when it is first needed, as
            `holdfast.connect()` makes it (`HOLDFAST_NATS_URL`).
        end_marker: accepted for the sake of old code; data is never compared with it.
        store: a `NatsStore` with other settings than the default's; `client` is then its own.
        error_text: what viewers are told when a generator raises; the exception's class, unless chosen.
    """

    def __init__(
        self,
        client: Holdfast | None = None,
        end_marker: str = "[END]",
        *,
        store: NatsStore | None = None,
        error_text: ErrorText = class_name,
    ) -> None:
        super().__init__(store or NatsStore(client), end_marker, error_text=error_text, owns_store=store is None)
