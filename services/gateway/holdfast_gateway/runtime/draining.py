"""Going away without a reconnect storm: viewers are sent off evenly over a window, in random order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from holdfast_gateway.core.close_reasons import CloseReason
from holdfast_gateway.runtime.viewer import LiveViewer

STEP_SECONDS = 0.05


async def drain(viewers: Callable[[], list[LiveViewer]], window_seconds: float, dice: random.Random) -> None:
    """Close every viewer within the window. Viewers that come meanwhile (admitted before) are closed at its end."""
    loop = asyncio.get_running_loop()
    leaving = viewers()
    dice.shuffle(leaving)
    begin = loop.time()
    count, gone = len(leaving), 0
    while gone < count:
        share = (loop.time() - begin + STEP_SECONDS) / window_seconds if window_seconds > 0 else 1.0
        upto = min(count, round(count * share))
        for viewer in leaving[gone:upto]:
            viewer.close(CloseReason.DRAINING)
        gone = upto
        if gone < count:
            await asyncio.sleep(STEP_SECONDS)
    for viewer in viewers():
        viewer.close(CloseReason.DRAINING)
