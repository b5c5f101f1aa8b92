"""Memory pressure: levels, hysteresis, and what the manager gives back and takes again. Virtual time."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.errors import ConfigurationError
from preloader.events import PreloadOutcome
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.scheduling.pressure import Hysteresis, Pressure, Reading, SimulatedPressure, classify
from preloader.scheduling.pressure_monitor import PressureMonitor
from preloader.settings import Settings
from preloader.testing import FakeProvider, fake_prediction
from tests.unit.manager_scene import MB, Scene, costs, event, run

USED, STALLED = (0.8, 0.9, 0.95, 0.98), (0.1, 0.25, 0.5, 0.75)
LOW, MEDIUM, HIGH, CRITICAL, EMERGENCY = Pressure


@pytest.mark.parametrize(
    ("reading", "level"),
    [
        (Reading(), LOW),
        (Reading(used=0.79), LOW),
        (Reading(used=0.8), MEDIUM),
        (Reading(used=1.2), EMERGENCY),
        (Reading(used=0.1, stalled=0.3), HIGH),
        (Reading(used=0.96, stalled=0.0), CRITICAL),
        (Reading(used=0.1, level=CRITICAL), CRITICAL),
    ],
)
def test_the_worst_of_a_reading_counts(reading, level):
    assert classify(reading, USED, STALLED) is level


def test_the_level_rises_at_once_and_falls_after_a_while_to_the_worst_of_that_while():
    level = Hysteresis(10.0)
    assert level.update(CRITICAL, 0.0) is CRITICAL
    assert level.update(LOW, 1.0) is CRITICAL
    assert level.update(MEDIUM, 5.0) is CRITICAL
    assert level.update(LOW, 10.9) is CRITICAL
    assert level.update(LOW, 11.0) is MEDIUM
    assert level.update(HIGH, 11.1) is HIGH


@given(st.lists(st.tuples(st.sampled_from(list(Pressure)), st.floats(0.0, 5.0)), max_size=40), st.floats(0.0, 10.0))
@settings(deadline=None, derandomize=True)
def test_it_is_never_below_what_is_measured_and_falls_only_to_the_worst_of_a_calm_while(steps, calm_s):
    hysteresis, now_s, below = Hysteresis(calm_s), 0.0, []
    for measured, pause_s in steps:
        now_s += pause_s
        before = hysteresis.level
        below = [*below, (now_s, measured)] if measured < before else []
        level = hysteresis.update(measured, now_s)
        assert level >= measured
        if level < before:
            assert now_s - below[0][0] >= calm_s
            assert level is max(seen for _, seen in below)
            below = []


def test_a_steady_lower_level_is_reached_after_calm_s_and_not_before():
    hysteresis = Hysteresis(3.0)
    hysteresis.update(EMERGENCY, 0.0)
    seen = [hysteresis.update(LOW, at / 2) for at in range(1, 9)]
    assert seen == [EMERGENCY] * 6 + [LOW] * 2


def test_a_source_that_fails_is_counted_and_the_level_stays():
    class Broken(SimulatedPressure):
        name = "broken"
        is_broken = False

        def read(self):
            if self.is_broken:
                raise OSError("gone")
            return super().read()

    async def main():
        source = Broken(Reading(used=0.92))
        options = {"interval_s": 1.0, "calm_s": 0.0, "used": USED, "stalled": STALLED}
        monitor = PressureMonitor([source], InlineExecutor(), respond=lambda level, before: None, **options)
        assert await monitor.look() is HIGH
        source.is_broken = True
        assert await monitor.look() is HIGH
        assert (monitor.statistics().errors, monitor.statistics().readings) == (1, {})

    run_virtual(main())


@pytest.mark.parametrize("reading", [Reading(used=float("nan")), Reading(stalled=float("nan"))])
def test_what_is_no_number_is_an_error_and_no_emergency(reading):
    async def main():
        options = {"interval_s": 1.0, "calm_s": 0.0, "used": USED, "stalled": STALLED}
        source = SimulatedPressure(reading)
        monitor = PressureMonitor([source], InlineExecutor(), respond=lambda level, before: None, **options)
        assert await monitor.look() is LOW
        assert monitor.statistics().errors == 1

    run_virtual(main())


def test_it_looks_more_often_the_worse_it_is():
    async def main():
        looks = []
        source = SimulatedPressure()
        options = {"interval_s": 1.0, "calm_s": 0.0, "used": USED, "stalled": STALLED}
        monitor = PressureMonitor(
            [source],
            InlineExecutor(),
            respond=lambda level, before: looks.append(asyncio.get_running_loop().time()),
            **options,
        )
        watching = asyncio.create_task(monitor.run())
        await asyncio.sleep(2.5)
        source.reading = Reading(used=0.92)
        await asyncio.sleep(1.1)
        assert looks == [0.0, 1.0, 2.0, 3.0, 3.25, 3.5]
        monitor.soon()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looks[-1] == 3.6
        watching.cancel()

    run_virtual(main())


NAMES = [f"n{at}" for at in range(8)]


def pressed(source, provider=None, answers=None, **options):
    given = {"pressure_calm_s": 2.0, "pressure_interval_s": 1.0, **options.pop("settings", {})}
    provider = provider or FakeProvider(costs(*NAMES, seconds=5.0))
    return Scene(provider, answers, settings=given, pressure_sources=[source], **options)


def likely(*names, p=0.95):
    return [fake_prediction(f"component:{name}", p) for name in names]


def possible(*names):
    return [fake_prediction(f"component:{name}", 0.1, 0.1, 0.3) for name in names]


def test_high_halves_the_queues_and_stops_the_background():
    source = SimulatedPressure()
    answers = {"go": possible(*NAMES)}
    scene = pressed(source, answers=answers, settings={"tier_capacity": (10, 20, 8), "most_tier_workers": (3, 3, 3)})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(0.5)
        assert manager.statistics().tiers["background"].loading == 3
        source.reading = Reading(used=0.92)
        await asyncio.sleep(1)
        assert manager.pressure is HIGH
        tiers = manager.statistics().tiers
        assert [tiers[name].capacity for name in tiers] == [5, 10, 4]
        assert (tiers["background"].queued, tiers["background"].loading, tiers["background"].workers) == (4, 0, 0)
        assert tiers["immediate"].workers == 3
        assert manager.statistics().budget_bytes == Settings().budget_bytes * 3 // 4
        assert manager.statistics().drops == {
            "background": {"memory pressure HIGH": 1, "cancelled in flight: memory pressure HIGH": 3}
        }
        assert manager.recent_drops()[0].reason == "memory pressure HIGH"
        await asyncio.sleep(20)
        assert manager.statistics().tiers["background"].loading == 0

    run(scene, script)


def test_critical_clears_the_queues_and_unloads_what_was_not_used_yet():
    source = SimulatedPressure()
    scene = pressed(source, answers={"go": likely("n0", "n1"), "on": likely("n2", "n3", "n4", "n5")})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(6)
        await manager.get("component:n0")
        manager.observe(event("on", session="other"))
        await asyncio.sleep(0.1)
        source.reading = Reading(used=0.96)
        await asyncio.sleep(1)
        assert manager.observe(event("go")) == []
        statistics = manager.statistics()
        assert statistics.ledger.open_preloads == 0
        assert (statistics.residents, statistics.counts["paused_by_pressure"]) == (1, 1)
        assert all(tier.queued == tier.loading == tier.capacity == 0 for tier in statistics.tiers.values())
        assert [value.key for value in scene.provider.unloaded] == ["component:n1"]
        await manager.get("component:n7")  # a need is always served

    run(scene, script)
    assert ("n1", PreloadOutcome.WASTED) in scene.preloads
    assert "memory pressure CRITICAL" in scene.reasons()


def test_an_emergency_unloads_all_that_nobody_holds_what_was_held_by_others_included():
    source = SimulatedPressure()
    names = ("base", "top", "held", "used")
    provider = FakeProvider(costs(*names), {"component:top": ["component:base"]})
    scene = pressed(source, provider)

    async def script(manager):
        for name in names:
            await manager.get(f"component:{name}")
        async with manager.use("component:held"):
            source.reading = Reading(level=EMERGENCY)
            await asyncio.sleep(2)
            assert [entry.key for entry in manager._store.entries()] == ["component:held"]
        await asyncio.sleep(1)
        assert manager.statistics().residents == 0

    run(scene, script)
    provider.assert_all_unloaded()


def test_a_load_that_a_need_has_joined_goes_on_through_an_emergency():
    source = SimulatedPressure()
    scene = pressed(source, answers={"go": likely("n0")})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(0.5)
        need = asyncio.create_task(manager.get("component:n0"))
        source.reading = Reading(level=EMERGENCY)
        assert (await need).key == "component:n0"

    run(scene, script)
    assert scene.preloads == [("n0", PreloadOutcome.USED)]


def test_recovery_restores_limits_workers_and_budget_exactly_and_preloads_again():
    source = SimulatedPressure()
    scene = pressed(source, answers={"go": likely("n0")})
    changes = []

    async def script(manager):
        before = manager.statistics()
        rings = {tier: ring_limit(manager, tier) for tier in range(3)}
        forget = manager.on_pressure(lambda level, was: changes.append((level, was)))
        source.reading = Reading(level=EMERGENCY)
        await asyncio.sleep(1.5)
        assert {tier: ring_limit(manager, tier) for tier in range(3)} == {
            tier: most / 2 for tier, most in rings.items()
        }
        source.reading = Reading()
        await asyncio.sleep(4)
        after = manager.statistics()
        assert (after.tiers, after.budget_bytes) == (before.tiers, before.budget_bytes)
        assert {tier: ring_limit(manager, tier) for tier in range(3)} == rings
        assert after.pressure.rises == {"emergency": 1}
        manager.observe(event("go"))
        await asyncio.sleep(6)
        assert manager.statistics().residents == 1
        forget()
        source.reading = Reading(level=HIGH)
        await asyncio.sleep(2)

    run(scene, script)
    assert changes == [(EMERGENCY, LOW), (LOW, EMERGENCY)]


def ring_limit(manager, tier):
    return manager._hints._rings[tier].limit


def test_a_budget_that_is_changed_under_pressure_is_what_recovery_restores():
    source = SimulatedPressure(Reading(level=HIGH))
    scene = pressed(source)

    async def script(manager):
        await asyncio.sleep(0.5)
        manager.resize(400 * MB)
        assert manager.statistics().budget_bytes == 300 * MB
        source.reading = Reading()
        await asyncio.sleep(4)
        assert manager.statistics().budget_bytes == 400 * MB

    run(scene, script)


def test_a_callback_that_fails_harms_nobody():
    source = SimulatedPressure()
    scene = pressed(source)
    seen = []

    async def script(manager):
        manager.on_pressure(lambda level, was: 1 / 0)
        manager.on_pressure(lambda level, was: seen.append(level))
        source.reading = Reading(level=CRITICAL)
        await asyncio.sleep(1.5)
        assert manager.pressure is CRITICAL

    run(scene, script)
    assert seen == [CRITICAL]


def test_it_can_be_switched_off():
    source = SimulatedPressure(Reading(level=EMERGENCY))
    scene = pressed(source, settings={"pressure": False})

    async def script(manager):
        await asyncio.sleep(5)
        assert manager.pressure is LOW

    run(scene, script)


@pytest.mark.parametrize(
    "wrong", [{"pressure_used": (0.9, 0.8, 0.95, 0.98)}, {"pressure_budget": (0.5, 0.75, 0.2)}, {"pressure": 1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Settings(**wrong)
