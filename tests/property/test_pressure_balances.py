"""Whatever memory pressure does meanwhile, the books balance, and afterwards all is as it was."""

import asyncio

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.events import Tier
from preloader.replay.clock import run_virtual
from preloader.scheduling.pressure import Pressure, Reading, SimulatedPressure
from tests.property.test_ledger_balances import Run, worlds

levels = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(list(Pressure))), max_size=8)


class PressedRun(Run):
    """Plays a schedule while memory runs short and comes back, and ends with plenty."""

    def __init__(self, provider, options):
        self.source = SimulatedPressure()
        super().__init__(provider, options, pressure_sources=[self.source])
        self.ring_limits = [ring.limit for ring in self.manager._hints._rings.values()]

    def check(self):
        """Check what holds at any moment; a lowered budget may be exceeded by what is in use, and by that alone."""
        store = self.store
        assert store.occupied_bytes == sum(entry.bytes for entry in store.entries())
        assert store.free_bytes <= store.capacity_bytes <= self.manager.settings.budget_bytes
        tiers = self.manager.statistics().tiers
        for tier in Tier:
            held = tiers[tier.name.lower()]
            assert held.queued <= held.capacity

    async def do(self, manager, tasks, what, *args):
        match what:
            case "pressure":
                await self.press(manager, *args)
            case "recover":
                await self.recover(manager)
            case _:
                await super().do(manager, tasks, what, *args)

    async def press(self, manager, level):
        self.source.reading = Reading(level=level)
        await asyncio.sleep(0.3)
        assert manager.pressure >= level
        if manager.pressure >= Pressure.CRITICAL:
            assert all(entry.pins for entry in manager._store.speculative())
            assert not any(tier.queued for tier in manager.statistics().tiers.values())

    async def recover(self, manager):
        self.source.reading = Reading()
        await asyncio.sleep(2.0)
        assert manager.pressure is Pressure.LOW
        assert manager.statistics().budget_bytes == manager.settings.budget_bytes
        tiers = manager.statistics().tiers
        assert [tiers[tier.name.lower()].capacity for tier in Tier] == list(manager.settings.tier_capacity)
        assert all(tier.workers > 0 for tier in tiers.values())
        assert [ring.limit for ring in manager._hints._rings.values()] == self.ring_limits


@settings(max_examples=80, deadline=None, derandomize=True)
@given(worlds(), levels)
def test_every_need_and_every_preload_ends_exactly_once_and_recovery_restores(world, pressed):
    provider, options, schedule = world
    options = msgspec.structs.replace(options, pressure_interval_s=0.2, pressure_calm_s=0.5)
    for at, level in pressed:
        schedule.insert(at, ("pressure", level))
    run = PressedRun(provider, options)
    run_virtual(run.play([*schedule, ("recover",)]))
    run.audit()
