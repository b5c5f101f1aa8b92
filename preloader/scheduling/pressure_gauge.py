"""Reading one source of memory pressure: in a thread, within a second, and what it said last holds for a while."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from preloader.ports import Executor
from preloader.scheduling.pressure import PressureSource, Reading
from preloader.telemetry import logger

READ_TIMEOUT_S = 1.0
"""After so long a source that is read in a thread is given up; it is not read again before that thread has ended."""

HOLD_S = 60.0
"""For so long what a source said last goes on to count once it cannot be read."""


class Gauge:
    """Reads a source, and remembers.

    Args:
        source: What to read.
        executor: Where it is read if it may block.

    Attributes:
        name: The source's.
        reading: What it said at the latest look; ``None`` where it could not be read then.
        errors: How often it could not be read.
        hangs: How often it was given up because it took too long.
    """

    def __init__(self, source: PressureSource, executor: Executor) -> None:
        self.name = source.name
        self.reading: Reading | None = None
        self.errors = 0
        self.hangs = 0
        self._source = source
        self._executor = executor
        self._hung: _Call | None = None
        self._last = Reading()
        self._last_s = -math.inf

    async def look(self) -> None:
        """Read the source once. Never raises, nor takes longer than `READ_TIMEOUT_S` where reading may block."""
        self.reading = None
        try:
            self.reading = await self._read()
        except Exception as error:
            self.errors += 1
            logger.debug("the pressure source %s cannot be read: %r", self.name, error)
        else:
            self._last, self._last_s = self.reading, asyncio.get_running_loop().time()

    def held(self, now_s: float) -> Reading | None:
        """Return what it said before it became unreadable, as long as that counts."""
        return self._last if self.reading is None and now_s - self._last_s < HOLD_S else None

    async def _read(self) -> Reading:
        if self._hung is not None and not self._hung.has_ended:
            raise TimeoutError("it still hangs")
        self._hung = None
        reading = await self._read_off_the_loop() if self._source.is_blocking else self._source.read()
        if math.isnan(reading.used or 0.0) or math.isnan(reading.stalled or 0.0):  # which would pass for the worst
            raise ValueError(f"no number in {reading}")
        return reading

    async def _read_off_the_loop(self) -> Reading:
        call = _Call(self._source.read)
        limit = asyncio.timeout(READ_TIMEOUT_S)
        try:
            async with limit:
                return await self._executor.run(call)
        except TimeoutError:
            if limit.expired():
                self._hung = call
                self.hangs += 1
                logger.warning("the pressure source %s hangs, and is not read again before that ends", self.name)
            raise


async def readable(sources: Sequence[PressureSource], executor: Executor) -> list[PressureSource]:
    """Return the sources that can be read, and those that hang, for they may end.

    Whatever a system has in the place of one must not hide the others.
    """
    gauges = [Gauge(source, executor) for source in sources]
    for gauge in gauges:
        await gauge.look()
    return [source for source, gauge in zip(sources, gauges, strict=True) if gauge.reading is not None or gauge.hangs]


class _Call:
    """One reading in a thread, which can be seen to have ended after it was given up."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self.has_ended = False
        self._read = read

    def __call__(self) -> Reading:
        try:
            return self._read()
        finally:
            self.has_ended = True
