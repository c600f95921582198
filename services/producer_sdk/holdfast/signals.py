"""SIGTERM, where the application does not handle it itself."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable


def on_sigterm(terminated: Callable[[], None]) -> Callable[[], None] | None:
    """Have `terminated` called in the event loop on SIGTERM.

    Returns what undoes it, or None: somebody else handles that signal, or this is not the main thread, or the platform
    has no such thing.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGTERM, terminated)
    except (NotImplementedError, RuntimeError, ValueError):
        return None

    def release() -> None:
        loop.remove_signal_handler(signal.SIGTERM)

    return release


def die_of_sigterm(loop: asyncio.AbstractEventLoop) -> None:
    """End as a process does that never caught it: whoever sent it sees that in the exit status."""
    loop.remove_signal_handler(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
