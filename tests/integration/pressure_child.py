"""Runs a manager in a memory-limited cgroup, takes memory until pressure rises, and prints what became of it.

Not a test: `test_memory_limit.py` runs it as a process of its own, as ``python pressure_child.py LIMIT_BYTES``.
"""

import asyncio
import json
import sys

from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.scheduling.pressure import Pressure
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider

SIZE = 8_000_000
BLOCK = 2_000_000


class Blocks(FakeProvider):
    """Loads what really occupies memory."""

    async def load(self, key):
        loaded = await super().load(key)
        block = bytearray(SIZE)
        block[::4096] = b"x" * len(block[::4096])
        return Loaded((loaded.value, block), SIZE)

    async def unload(self, key, value):
        await super().unload(key, value[0])


async def main(limit_bytes):
    count = limit_bytes // 4 // SIZE  # what is preloaded takes a quarter of the limit
    provider = Blocks({f"fake:{at}": Cost(0.0, SIZE) for at in range(count)})
    levels, ballast = [], []
    options = Settings(waste_budget=None, pressure_interval_s=0.05, pressure_calm_s=0.2, pressure_stalled=(1, 1, 1, 1))
    async with PreloadManager({"fake": provider}, predictor=FakePredictor({}), settings=options) as manager:
        manager.on_pressure(lambda level, before: levels.append(level.name))
        for at in range(count):
            manager.hint(f"fake:{at}", 0.95)
            await asyncio.sleep(0.01)
        await reach(lambda: manager.statistics().residents == count)
        async with asyncio.timeout(60):
            while manager.pressure < Pressure.CRITICAL:
                ballast.append(bytearray(b"x" * BLOCK))
                await asyncio.sleep(0.05)
        await reach(lambda: manager.statistics().residents == 0)
        shed = manager.statistics()
        ballast.clear()
        await reach(lambda: manager.pressure <= Pressure.MEDIUM)
        recovered = manager.statistics()
    print(
        json.dumps(
            {
                "preloaded": count,
                "levels": levels,
                "readings": sorted(shed.pressure.readings),
                "budgets": [shed.budget_bytes, recovered.budget_bytes],
                "ledger": manager.statistics().ledger.preloads,
                "live": len(provider.live),
            }
        )
    )


async def reach(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


asyncio.run(main(int(sys.argv[1])))
