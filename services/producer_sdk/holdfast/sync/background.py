"""One event loop in one daemon thread per process, for callers that have none of their own.

After a fork the child gets a new one on first use. What the parent had is left alone and kept alive there: its sockets
and its selector are shared with the parent, and a destructor would reach into the parent's.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from typing import Any, Final, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """A running loop. `run` is called from any other thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="holdfast-loop", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, work: Coroutine[Any, Any, T], timeout_seconds: float | None = None) -> T:
        """Run a coroutine there and wait for it. An interrupt (Ctrl-C) cancels it. Raises what it raises."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("this would wait for itself: use holdfast, not holdfast.sync, inside the event loop")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_seconds)
        except FutureCancelled as error:
            raise RuntimeError("cancelled: the connection was closed") from error
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the thread and close the loop. Only a loop of one's own is closed, never the process's."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self.loop.close()


class _Process:
    """The one loop of this process, and those of its ancestors, which must never be destroyed here."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.current: BackgroundLoop | None = None
        self.inherited: list[BackgroundLoop] = []

    def get(self) -> BackgroundLoop:
        with self.lock:
            if self.current is None:
                self.current = BackgroundLoop()
            return self.current

    def forked(self) -> None:
        self.lock = threading.Lock()  # another thread may have held it
        if self.current is not None:
            self.inherited.append(self.current)
            self.current = None


# The one place with state of the process: a fork has to be able to find it.
_PROCESS: Final = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.forked)


def background_loop() -> BackgroundLoop:
    """This process's loop, started on first use."""
    return _PROCESS.get()
