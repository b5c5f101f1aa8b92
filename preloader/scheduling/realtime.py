"""Whether a loop lives in the machine's time: what is measured on the machine says nothing about virtual time."""

from __future__ import annotations

import asyncio
import time


def keeps_real_time(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop's clock is the machine's."""
    return abs(loop.time() - time.monotonic()) < 1.0
