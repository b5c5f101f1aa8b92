"""What happens when two things happen at once: joins, withdrawals, staleness, shutdown, faulty parts. Virtual time."""

import asyncio
import logging

import pytest

from preloader.cache import LRUEviction
from preloader.errors import ClosedError, LoadError
from preloader.events import Event, Need, NeedOutcome, Preload, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, fake_prediction


def costs(*names, seconds=1.0, size=100):
    return {f"component:{name}": Cost(seconds, size) for name in names}


def sure(name, p=0.95):
    return fake_prediction(f"component:{name}", p)


class Scene:
    def __init__(self, provider, answers=None, *, listeners=(), **options):
        self.provider = provider
        self.ended = []
        settings = {"waste_budget": None, "load_attempts": 1, **options.pop("settings", {})}
        self.manager = PreloadManager(
            {"component": provider},
            predictor=FakePredictor(answers or {}),
            settings=Settings(**settings),
            listeners=[self.ended.append, *listeners],
            **options,
        )

    def observe(self, action, session="s"):
        return self.manager.observe(Event(user="u", session=session, time_s=0.0, action=action))

    def preloads(self):
        return [(end.key[-1], end.outcome, end.reason) for end in self.ended if isinstance(end, Preload)]

    def needs(self):
        return [(end.key[-1], end.outcome) for end in self.ended if isinstance(end, Need)]

    def run(self, script):
        async def main():
            async with self.manager as manager:
                await script(manager)

        run_virtual(main())


def test_a_queued_preload_that_became_ready_as_a_dependency_is_not_loaded_again():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t"), sure("b", 0.94)]}, settings={"tier_workers": (1, 1, 1), "loaders": 1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(5)
        await manager.get("component:b")

    scene.run(script)
    assert provider.started == ["component:b", "component:t"]
    assert ("b", PreloadOutcome.DROPPED, "ready already, as a dependency") in scene.preloads()
    provider.assert_all_unloaded()


def test_a_preload_that_is_loading_as_a_dependency_is_not_loaded_beside_it():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t")], "on": [sure("t"), sure("b")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        scene.observe("on")
        await asyncio.sleep(5)

    scene.run(script)
    assert provider.started.count("component:b") == 1
    assert ("b", PreloadOutcome.DROPPED, "loading already, as a dependency") in scene.preloads()


def test_a_withdrawn_preload_leaves_its_load_to_the_need_that_waits_for_it():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("b")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        need = asyncio.create_task(manager.get("component:t"))
        await asyncio.sleep(0.1)
        manager.end_session("u", "s")
        assert (await need).key == "component:t"

    scene.run(script)
    assert scene.preloads() == [("b", PreloadOutcome.WASTED, "unused at session end")]
    assert provider.started == ["component:b", "component:t"]
    provider.assert_all_unloaded()


def test_a_dependency_loads_with_one_loader_and_a_need_takes_it_from_speculation():
    provider = FakeProvider(costs("b", "t", "x", seconds=10.0), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("x")]}, settings={"loaders": 1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(1)
        await manager.get("component:t")
        assert asyncio.get_running_loop().time() == pytest.approx(21.0)

    scene.run(script)
    assert scene.preloads() == [("x", PreloadOutcome.WASTED, "cancelled in flight: a need took its slot")]


def test_a_preempted_dependency_ends_the_preload_that_waited_for_it():
    provider = FakeProvider(costs("b", "t", "x", seconds=10.0), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t")]}, settings={"loaders": 1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(1)
        await manager.get("component:x")
        assert asyncio.get_running_loop().time() == pytest.approx(11.0)

    scene.run(script)
    assert scene.preloads() == [("t", PreloadOutcome.WASTED, "cancelled in flight: a need took its slot")]
    provider.assert_all_unloaded()


def test_what_a_need_has_joined_is_used_even_if_its_session_ends_meanwhile():
    scene = Scene(FakeProvider(costs("a")), {"go": [sure("a")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        need = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(0.1)
        manager.end_session("u", "s")
        await need

    scene.run(script)
    assert scene.preloads() == [("a", PreloadOutcome.USED, "joined in flight")]


class Growing(FakeProvider):
    """Makes more than it said."""

    async def load(self, key):
        loaded = await super().load(key)
        return Loaded(loaded.value, 10 * loaded.bytes)


def test_what_turns_out_not_to_fit_is_used_if_joined_and_wasted_if_not():
    provider = Growing(costs("a", "b"))
    scene = Scene(provider, {"go": [sure("a"), sure("b")]}, settings={"budget_bytes": 500})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        await manager.get("component:a")
        await asyncio.sleep(1)

    scene.run(script)
    assert sorted(scene.preloads()) == [
        ("a", PreloadOutcome.USED, "joined in flight"),
        ("b", PreloadOutcome.WASTED, "larger than expected: it did not fit"),
    ]
    assert [value.key for value in provider.live] == ["component:a"]  # handed over for good


def test_a_dependency_that_was_needed_by_itself_is_not_counted_as_its_dependents_waste():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(5)
        await manager.get("component:b")
        manager.end_session("u", "s")

    scene.run(script)
    (preload,) = [end for end in scene.ended if isinstance(end, Preload)]
    assert (preload.outcome, preload.bytes) == (PreloadOutcome.WASTED, 100)


def manager_count(scene, name):
    return scene.manager.statistics().counts.get(name, 0)


class SlowToTell(FakeProvider):
    """Takes a second to say whether a value is fresh; the first time it never says."""

    def __init__(self, *args, hangs=0, **options):
        super().__init__(*args, immutable=False, **options)
        self.hangs = hangs

    async def is_fresh(self, key, value):
        self.hangs -= 1
        await asyncio.sleep(1e6 if self.hangs >= 0 else 1.0)
        return await super().is_fresh(key, value)


def test_two_needs_that_find_one_value_stale_load_once():
    provider = SlowToTell(costs("a", seconds=0.1))
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:a")
        first = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(0.5)
        provider.change("component:a")
        second = asyncio.create_task(manager.get("component:a"))  # finds out after the first one has loaded anew
        assert await first is await second

    scene.run(script)
    assert len(provider.started) == 2
    assert scene.needs() == [("a", NeedOutcome.MISS), ("a", NeedOutcome.MISS), ("a", NeedOutcome.HIT)]
    provider.assert_all_unloaded()


def test_a_freshness_check_that_hangs_counts_as_stale():
    provider = SlowToTell(costs("a"), hangs=1)
    scene = Scene(provider, settings={"load_timeout_s": 5.0})

    async def script(manager):
        await manager.get("component:a")
        await manager.get("component:a")
        assert asyncio.get_running_loop().time() == pytest.approx(1.0 + 5.0 + 1.0)

    scene.run(script)
    assert manager_count(scene, "freshness_errors") == 1


def test_a_need_that_is_cancelled_while_freshness_is_checked_is_counted_and_pins_nothing():
    provider = SlowToTell(costs("a"))
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:a")
        need = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(0.5)
        need.cancel()
        await asyncio.wait([need])
        await manager.clear()
        assert manager.statistics().residents == 0

    scene.run(script)
    assert len(scene.needs()) == 2


@pytest.mark.parametrize("is_stale", [True, False])
def test_a_freshness_check_that_outlives_the_manager_starts_nothing_and_leaks_nothing(is_stale):
    provider = SlowToTell(costs("a"))
    scene = Scene(provider)

    async def main():
        async with scene.manager as manager:
            await manager.get("component:a")
            need = asyncio.create_task(manager.get("component:a"))
            await asyncio.sleep(0.5)
            if is_stale:
                provider.change("component:a")
        if is_stale:
            with pytest.raises(ClosedError):
                await need
        else:
            await need
        await asyncio.sleep(1)

    run_virtual(main())
    assert len(provider.started) == 1
    provider.assert_all_unloaded()


def test_what_is_in_use_at_shutdown_is_unloaded_with_its_last_use():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider)

    async def main():
        async def hold():
            async with scene.manager.use("component:t"):
                await asyncio.sleep(100)
                assert len(provider.live) == 2

        async with scene.manager:
            holder = asyncio.create_task(hold())
            await asyncio.sleep(5)
        assert len(provider.live) == 2
        await holder
        assert [value.key[-1] for value in provider.unloaded] == ["t", "b"]

    run_virtual(main())


class SlowToUnload(FakeProvider):
    async def unload(self, key, value):
        await asyncio.sleep(1)
        await super().unload(key, value)


def test_a_dependency_is_unloaded_only_when_its_dependent_has_been():
    provider = SlowToUnload(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:t")
        before_s = asyncio.get_running_loop().time()
        await manager.clear()
        assert asyncio.get_running_loop().time() - before_s == pytest.approx(2.0)
        assert [value.key[-1] for value in provider.unloaded] == ["t", "b"]

    scene.run(script)


class Unloadable(FakeProvider):
    def __init__(self, *args, how):
        super().__init__(*args)
        self.how = how

    async def unload(self, key, value):
        await super().unload(key, value)
        if isinstance(self.how, BaseException):
            raise self.how
        while True:  # ignores being cancelled, for an hour
            try:
                await asyncio.sleep(3_600)
                return
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize("how", [OSError("x"), SystemExit(1), asyncio.CancelledError(), "hangs"])
def test_an_unload_that_goes_wrong_is_counted_and_holds_nothing_up(how):
    scene = Scene(Unloadable(costs("a"), how=how))

    async def script(manager):
        await manager.get("component:a")
        await manager.clear()
        assert manager_count(scene, "unload_errors") == 1
        await manager.get("component:a")

    scene.run(script)
    assert manager_count(scene, "unload_errors") == 2


def test_a_need_that_waits_at_shutdown_is_told():
    scene = Scene(FakeProvider(costs("a", seconds=100.0)))

    async def main():
        async with scene.manager as manager:
            need = asyncio.create_task(manager.get("component:a"))
            await asyncio.sleep(1)
        with pytest.raises(LoadError, match="shutdown"):
            await need

    run_virtual(main())
    assert scene.needs() == [("a", NeedOutcome.MISS)]


def test_a_hint_on_its_way_at_shutdown_opens_nothing():
    scene = Scene(FakeProvider(costs("a", seconds=100.0)))

    async def script(manager):
        need = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(1)
        manager.hint("component:b", 0.95)
        need.cancel()

    scene.run(script)
    assert scene.preloads() == []
    assert scene.manager.statistics().ledger.open_preloads == 0


def test_a_hint_writes_off_only_what_it_started():
    scene = Scene(FakeProvider(costs("a")), {"go": [sure("a")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(2)
        manager.hint("component:a", 0.95, ttl_s=1.0)
        await asyncio.sleep(5)
        await manager.get("component:a")

    scene.run(script)
    assert scene.preloads() == [("a", PreloadOutcome.USED, "used")]


def test_the_timer_of_a_hint_ends_with_its_preload():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        manager.hint("component:a", 0.95, ttl_s=1e6)
        await asyncio.sleep(2)
        timers = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        assert len(timers) == 1
        await manager.get("component:a")
        assert timers[0].cancelled()

    scene.run(script)


def test_a_hint_belongs_to_no_session_not_even_one_without_a_name():
    scene = Scene(FakeProvider(costs("a", seconds=5.0)))

    async def script(manager):
        manager.hint("component:a", 0.95)
        await asyncio.sleep(1)
        manager.observe(Event(user="", session="", time_s=0.0, action="go"))
        manager.end_session("", "")
        await asyncio.sleep(10)
        await manager.get("component:a")

    scene.run(script)
    assert scene.preloads() == [("a", PreloadOutcome.USED, "used")]


def test_a_manager_runs_once():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        with pytest.raises(ClosedError, match="entered before"):
            await manager.__aenter__()
        await manager.get("component:a")

    scene.run(script)
    with pytest.raises(ClosedError, match="entered before"):
        scene.run(script)


def test_a_listener_may_observe():
    again = [True]

    def listener(ended):
        if isinstance(ended, Preload) and again:
            again.clear()
            scene.observe("go")

    scene = Scene(FakeProvider(costs("a")), {"go": [sure("a")]}, listeners=[listener], settings={"waste_budget": 0.5})

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
