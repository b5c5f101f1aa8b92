"""What parts that are not the manager's do to it: they call it back, raise, or free too little. Virtual time."""

import asyncio
import logging

import pytest

from preloader.cache import LRUEviction
from preloader.decision import ThresholdPolicy, WasteBudget
from preloader.errors import LoadError
from preloader.events import Preload, PreloadOutcome
from preloader.scheduling.execution import InlineExecutor
from preloader.testing import FakeProvider
from tests.unit.race_scene import Growing, Scene, costs, manager_count, sure


def test_a_listener_may_observe():
    again = [True]

    def listener(ended):
        if isinstance(ended, Preload) and again:
            again.clear()
            scene.observe("go")

    generous = WasteBudget(ThresholdPolicy(), 0.5, burst=1e4)  # what is told here is not what it refuses
    scene = Scene(FakeProvider(costs("a")), {"go": [sure("a")]}, listeners=[listener], policy=generous)

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        manager.end_session("u", "s")
        await asyncio.sleep(5)

    scene.run(script)
    assert [outcome for _, outcome, _ in scene.preloads()] == [PreloadOutcome.WASTED] * 2
    budget = scene.manager._speculation._policy
    assert (budget.count.wasted, budget.count.outstanding) == (2, 0)


class FaultyParts(FakeProvider):
    """Raises where a provider must not."""

    def __init__(self, *args, faulty):
        super().__init__(*args)
        self.faulty = faulty

    def cost(self, key):
        if self.faulty == "cost" and key == "component:bad":
            raise ZeroDivisionError("cost")
        return super().cost(key)

    def dependencies(self, key):
        if self.faulty == "dependencies" and key == "component:bad":
            raise ZeroDivisionError("dependencies")
        return super().dependencies(key)


@pytest.mark.parametrize("faulty", ["cost", "dependencies"])
def test_a_faulty_provider_harms_its_own_keys_only(faulty, caplog):
    caplog.set_level(logging.CRITICAL, "preloader")
    provider = FaultyParts(costs("bad", "a", "b"), faulty=faulty)
    scene = Scene(provider, {"go": [sure("bad"), sure("a")]}, settings={"budget_bytes": 100, "waste_budget": 0.1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(2)
        with pytest.raises(LoadError, match="ZeroDivisionError"):
            await manager.get("component:bad")
        await manager.get("component:b")  # must evict, and so looks at what is expected
        await manager.get("component:a")

    scene.run(script)
    assert scene.manager.statistics().ledger.open_preloads == 0
    provider.assert_all_unloaded()


class RaisingEviction(LRUEviction):
    name = "raising"

    def victims(self, bytes_needed, pinned, predictions, candidate=None):
        raise ZeroDivisionError


def test_an_eviction_policy_that_raises_after_a_load_leaks_nothing(caplog):
    caplog.set_level(logging.CRITICAL, "preloader")
    provider = Growing(costs("a", "b"))
    scene = Scene(provider, settings={"budget_bytes": 1_500}, eviction=RaisingEviction())

    async def script(manager):
        await manager.get("component:a")
        with pytest.raises(LoadError, match="ZeroDivisionError"):
            await manager.get("component:b")

    scene.run(script)
    assert len(provider.loaded) == 2
    provider.assert_all_unloaded()


class FaultyEviction:
    name = "faulty"

    def admitted(self, resident):
        pass

    used = removed = admitted

    def victims(self, bytes_needed, pinned, predictions, candidate=None):
        return ["component:a"] if "component:a" not in pinned else []


def test_an_eviction_policy_that_frees_too_little_fails_the_load_and_leaks_nothing(caplog):
    caplog.set_level(logging.CRITICAL, "preloader")
    provider = FakeProvider(costs("a", "b"))
    scene = Scene(provider, settings={"budget_bytes": 150}, eviction=FaultyEviction())

    async def script(manager):
        async with manager.use("component:a"):
            with pytest.raises(LoadError):
                await manager.get("component:b")
        await manager.get("component:b")

    scene.run(script)
    provider.assert_all_unloaded()


class Nested(FakeProvider):
    """Needs another resource while it loads one, and did not say so beforehand."""

    async def load(self, key):
        if key == "component:t":
            self.nested = await self.manager.get("component:b")
        return await super().load(key)


@pytest.mark.parametrize("needed", [True, False])
def test_a_loader_that_needs_another_resource_lends_it_its_slot(needed):
    provider = Nested(costs("a", "b", "t", "x"), {"component:b": ["component:a"]})
    scene = Scene(provider, {"go": [sure("t")]}, settings={"loaders": 1})
    provider.manager = scene.manager

    async def script(manager):
        if needed:
            other = asyncio.create_task(manager.get("component:t"))
            await asyncio.sleep(0.5)
            await asyncio.gather(other, manager.get("component:x"))  # waits for its turn all the same
            assert asyncio.get_running_loop().time() == pytest.approx(4.0)
        else:
            scene.observe("go")
            await asyncio.sleep(3.5)
        assert (await manager.get("component:t")).key == "component:t"

    scene.run(script)
    assert provider.started == ["component:a", "component:b", "component:t"] + ["component:x"] * needed
    assert manager_count(scene, "preemptions") == 0


def test_a_loader_may_need_what_waits_for_its_very_slot():
    provider = Nested(costs("b", "t"))
    scene = Scene(provider, settings={"loaders": 1})
    provider.manager = scene.manager

    async def script(manager):
        await asyncio.gather(manager.get("component:t"), manager.get("component:b"))
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)

    scene.run(script)


def test_a_loader_may_observe():
    class Observing(FakeProvider):
        async def load(self, key):
            scene.observe("turn")  # which cancels this very load
            return await super().load(key)

    scene = Scene(Observing(costs("a", "b")), {"go": [sure("a")], "turn": [sure("b")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(5)
        await manager.get("component:b")

    scene.run(script)
    assert scene.preloads() == [
        ("a", PreloadOutcome.WASTED, "cancelled in flight: no longer expected"),
        ("b", PreloadOutcome.USED, "used"),
    ]


class WantsExecutor(FakeProvider):
    def use_executor(self, executor):
        self.executor = executor


def test_providers_get_the_managers_executor():
    provider, executor = WantsExecutor(costs("a")), InlineExecutor()
    Scene(provider, executor=executor).run(lambda manager: asyncio.sleep(0))
    assert provider.executor is executor


class Forgetful(LRUEviction):
    """Fails whenever it is told something, though it works."""

    name = "forgetful"

    def resized(self, capacity_bytes):
        if self._residents:
            raise ZeroDivisionError("resized")

    def missed(self, key):
        raise ZeroDivisionError("missed")

    def evicted(self, key):
        raise ZeroDivisionError("evicted")

    def admitted(self, resident):
        super().admitted(resident)
        raise ZeroDivisionError("admitted")

    def used(self, key):
        super().used(key)
        raise ZeroDivisionError("used")

    def removed(self, key):
        super().removed(key)
        raise ZeroDivisionError("removed")


def test_an_eviction_policy_that_fails_when_told_something_harms_nobody(caplog):
    caplog.set_level(logging.CRITICAL, "preloader")
    provider = FakeProvider(costs("a", "b"))
    scene = Scene(provider, settings={"budget_bytes": 150}, eviction=Forgetful())

    async def script(manager):
        first = await manager.get("component:a")
        assert await manager.get("component:a") is first  # used
        assert first not in provider.unloaded
        await manager.get("component:b")  # evicts
        manager.resize(140)

    scene.run(script)
    provider.assert_all_unloaded()
    assert manager_count(scene, "eviction_errors") == 9  # missed, admitted, used; missed, evicted, removed, admitted; …


def test_a_listener_may_resize_while_others_are_being_evicted():
    def listener(ended):
        if isinstance(ended, Preload) and ended.outcome is PreloadOutcome.WASTED:
            scene.manager.resize(50)

    answers = {"go": [sure("a"), sure("b"), sure("c")]}
    scene = Scene(FakeProvider(costs("a", "b", "c")), answers, listeners=[listener], settings={"budget_bytes": 300})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(5.0)
        manager.resize(99)
        assert manager.statistics().residents == 0

    scene.run(script)
    scene.provider.assert_all_unloaded()
    assert [outcome for _, outcome, _ in scene.preloads()] == [PreloadOutcome.WASTED] * 3


def test_clearing_ends_though_others_keep_being_unloaded():
    class Lingering(FakeProvider):
        async def unload(self, key, value):
            await asyncio.sleep(0.7)
            await super().unload(key, value)

    scene = Scene(Lingering(costs("a", "b", "c", seconds=0.5)), settings={"budget_bytes": 250})

    async def script(manager):
        async def displace():
            for name in "abc" * 100:
                await manager.get(f"component:{name}")

        others = asyncio.create_task(displace())
        await asyncio.sleep(3.2)
        async with asyncio.timeout(1.0):  # what was there is unloaded in 0.7 s
            await manager.clear()
        others.cancel()
        await asyncio.wait([others])

    scene.run(script)
    scene.provider.assert_all_unloaded()
