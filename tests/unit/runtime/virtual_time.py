"""An event loop whose clock is a number: it jumps to the next timer instead of waiting for it. No test sleeps."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

BEGIN_SECONDS = 1_000.0
"""Small, so that a float still holds nanoseconds."""

LONGEST_SECONDS = 30 * 86_400.0


class _Jump(selectors.SelectSelector):
    """Does not wait: moves the loop's clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN_SECONDS

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("deadlock: nothing is ready and no timer is set")
            self.now += max(timeout, 1e-9)
            if self.now > BEGIN_SECONDS + LONGEST_SECONDS:
                raise AssertionError("the awaited thing does not come, however long one waits")
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` is Unix time of a young world, so one clock serves as monotonic and as wall clock."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def now() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def settle(turns: int = 40) -> None:
    """Let everything run that is ready, without letting time pass."""
    for _ in range(turns):
        await asyncio.sleep(0)
