"""What may not be resident together never is, and it is said which of the two yields. Virtual time."""

import asyncio

import pytest

from preloader.components.registry import ComponentRegistry
from preloader.errors import ConflictError
from preloader.events import PreloadOutcome
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.testing import FakeProvider, fake_prediction
from tests.unit.manager_scene import Scene, event, run

NAMES = ("small", "large", "base", "assistant", "other")


class Voices:
    """A registry whose small and large voice conflict; an assistant stands on the small one."""

    def __init__(self, unload_s=0.0):
        self.alive, self.together, self.log = set(), [], []
        self.unload_s = unload_s
        self.registry = ComponentRegistry()
        self.add("base")
        self.add("small", requires=["base"], conflicts=["large"])
        self.add("large", load_s=2.0, requires=["base"], priority=1.5)
        self.add("assistant", requires=["small"])
        self.add("other")

    def add(self, name, load_s=1.0, **declared):
        async def load():
            self.log.append(f"+{name}")
            self.alive.add(name)
            self.together.append(frozenset(self.alive))
            try:
                await asyncio.sleep(load_s)
            except asyncio.CancelledError:
                self.alive.discard(name)
                self.log.append(f"!{name}")
                raise
            return Loaded(name, 10)

        async def unload(value):
            await asyncio.sleep(self.unload_s)
            self.alive.discard(value)
            self.log.append(f"-{value}")

        self.registry.component(name, bytes=10, load_s=load_s, unload=unload, **declared)(load)

    def scene(self, answers=None, **settings):
        return Scene(self.registry.provider(), answers, settings=settings)

    def never_together(self):
        return not any({"small", "large"} <= alive for alive in self.together)


def key(name):
    return f"component:{name}"


def sure(name, p=0.95):
    return fake_prediction(key(name), p)


def now_s():
    return asyncio.get_running_loop().time()


def test_a_need_evicts_an_idle_rival_with_all_that_stands_on_it_and_waits_until_it_is_unloaded():
    voices = Voices(unload_s=3.0)
    scene = voices.scene()

    async def script(manager):
        await manager.get(key("assistant"))
        await manager.get(key("large"))
        assert voices.alive == {"base", "large"}
        assert now_s() == pytest.approx(3.0 + 3.0 + 3.0 + 2.0)

    run(scene, script)
    assert voices.log[:7] == ["+base", "+small", "+assistant", "-assistant", "-small", "+large", "-large"]
    assert voices.never_together()


def test_a_need_fails_at_once_where_its_rival_is_in_use():
    voices = Voices()
    scene = voices.scene()

    async def script(manager):
        async with manager.use(key("small")):
            with pytest.raises(ConflictError, match=r"component:large conflicts with component:small, which is in use"):
                await manager.get(key("large"))
        async with manager.use(key("assistant")):
            with pytest.raises(ConflictError, match="on which component:assistant stands that is in use: let go of it"):
                await manager.get(key("large"))
        assert await manager.get(key("large")) == "large"

    run(scene, script)
    assert voices.never_together()


@pytest.mark.parametrize("loaders", [1, 2, None])
def test_two_needs_take_turns(loaders):
    voices = Voices()
    scene = voices.scene(loaders=loaders)

    async def script(manager):
        wanted = ["small", "large", "assistant", "large", "other"]
        assert await asyncio.gather(*(manager.get(key(name)) for name in wanted)) == wanted

    run(scene, script)
    assert voices.never_together()


def test_a_need_takes_the_place_of_a_rival_that_is_being_preloaded():
    voices = Voices()
    scene = voices.scene({"go": [sure("assistant")]})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(1.5)  # base is there, small is loading
        await manager.get(key("large"))
        assert now_s() == pytest.approx(3.5)

    run(scene, script)
    assert scene.preloads == [("assistant", PreloadOutcome.WASTED)]
    yields = "component:small yields to component:large, which it conflicts with"
    assert scene.reasons() == [f"cancelled in flight: {yields}"]
    assert voices.never_together()


def test_speculation_never_takes_the_place_of_what_is_in_use():
    voices = Voices()
    scene = voices.scene({"go": [sure("large")]})
    decisions = []

    async def script(manager):
        async with manager.use(key("small")):
            decisions.extend(manager.observe(event("go")))
            await asyncio.sleep(5)
            assert "large" not in voices.alive

    run(scene, script)
    assert scene.preloads == [("large", PreloadOutcome.DROPPED)]
    words = "component:large yields to component:small, which it conflicts with and which is in use"
    assert scene.reasons() == [words]
    assert decisions[0].reason.endswith(f"; {words}, unless that changes")


@pytest.mark.parametrize(("p_small", "p_large", "stays"), [(0.95, 0.92, "large"), (0.95, 0.1, "small")])
def test_of_two_speculative_loads_the_worthier_stays(p_small, p_large, stays):
    """Probability × seconds × priority: .95 × 1 × 1 against .92 × 2 × 1.5, or .1 of that."""
    voices = Voices()
    scene = voices.scene({"go": [sure("small")], "on": [sure("small"), sure("large", p_large)]})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(5)
        manager.observe(event("on", session="t"))
        if p_large < 0.5:
            manager.hint(key("large"), 0.31)
        await asyncio.sleep(5)
        assert voices.alive == {"base", stays}

    run(scene, script)
    assert voices.never_together()
    words = (
        "component:small yields to component:large" if stays == "large" else "component:large yields to component:sm"
    )
    assert any(words in reason for reason in scene.reasons())


def test_a_rival_that_nobody_expects_any_more_yields_to_speculation():
    voices = Voices()
    scene = voices.scene({"go": [sure("large")]})
    decisions = []

    async def script(manager):
        await manager.get(key("small"))
        decisions.extend(manager.observe(event("go")))
        await asyncio.sleep(3)
        assert await manager.get(key("large")) == "large"

    run(scene, script)
    assert decisions[0].reason.endswith("; component:small, which it conflicts with, yields")
    assert scene.preloads == [("large", PreloadOutcome.USED)]
    assert voices.never_together()


def test_a_dependency_that_conflicts_is_kept_apart_like_all_else():
    voices = Voices()
    scene = voices.scene({"go": [sure("assistant")]})

    async def script(manager):
        async with manager.use(key("large")):
            manager.observe(event("go"))
            await asyncio.sleep(3)
            with pytest.raises(ConflictError, match=r"component:small conflicts with component:large, which is in use"):
                await manager.get(key("assistant"))

    run(scene, script)
    assert scene.preloads == [("assistant", PreloadOutcome.DROPPED)]
    assert voices.never_together()


def test_a_provider_that_requires_two_that_conflict_is_told_so():
    class Lying:
        immutable = True

        def __init__(self, provider):
            self.provider = provider

        def __getattr__(self, name):
            return getattr(self.provider, name)

        def requires(self, asked):
            return [key("small"), key("large")] if asked == key("other") else self.provider.requires(asked)

    voices = Voices()
    scene = Scene(Lying(voices.registry.provider()))

    async def script(manager):
        with pytest.raises(ConflictError, match=r"conflicts with component:\w+, and component:other waits for both"):
            await manager.get(key("other"))
        assert await manager.get(key("large")) == "large"

    run(scene, script)
    assert voices.never_together()


def test_a_loader_may_not_wait_for_what_conflicts_with_itself():
    registry = ComponentRegistry()

    @registry.component("a", bytes=1, load_s=1.0, conflicts=["b"])
    async def load():
        return await scene.manager.get(key("b"))

    registry.simulated("b", bytes=1, load_s=1.0)
    scene = Scene(registry.provider(), settings={"load_attempts": 1})

    async def script(manager):
        with pytest.raises(Exception, match="component:b conflicts with component:a, and component:a waits for both"):
            await manager.get(key("a"))
        assert now_s() == 0.0

    run(scene, script)


class Slow(FakeProvider):
    """Conflicting `a` and `b`; clearing `b` away takes time, and in the end it may be there all the same."""

    def __init__(self, clear_s, *, delivers):
        costs = {key("a"): Cost(1.0, 10), key("b"): Cost(9.0, 10), key("base"): Cost(1.0, 10)}
        super().__init__(costs, {key("b"): [key("base")]})
        self.clear_s, self.delivers = clear_s, delivers

    def conflicts(self, wanted):
        return {key("a"): [key("b")], key("b"): [key("a")]}.get(wanted, [])

    async def load(self, wanted):
        try:
            return await super().load(wanted)
        except asyncio.CancelledError:
            await asyncio.sleep(self.clear_s)
            if self.delivers:
                return Loaded("late", 10)
            raise

    async def unload(self, wanted, value):
        if value == "late":
            assert not self.unloaded, "it stands on nothing"
            await asyncio.sleep(1.0)
            return
        await super().unload(wanted, value)


@pytest.mark.parametrize(
    ("clear_s", "delivers", "expected_s"), [(2.0, False, 2.0), (2.0, True, 3.0), (1e9, False, 30.0)]
)
def test_a_need_waits_until_a_cancelled_rival_is_cleared_away_but_not_for_ever(clear_s, delivers, expected_s):
    provider = Slow(clear_s, delivers=delivers)
    scene = Scene(provider, {"go": [sure("b")]})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(5.0)
        asked_s = now_s()
        await manager.get(key("a"))
        return now_s() - asked_s

    assert run(scene, script) == pytest.approx(expected_s + 1.0)


def test_what_a_cancelled_load_delivers_at_shutdown_is_unloaded_before_what_it_stands_on():
    provider = Slow(2.0, delivers=True)
    scene = Scene(provider, {"go": [sure("b")]})

    async def main():
        async with scene.manager as manager:
            manager.observe(event("go"))
            await asyncio.sleep(5.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return now_s()

    assert run_virtual(main()) == pytest.approx(5.0 + 2.0 + 1.0)
    assert scene.manager.statistics().counts.get("unload_errors", 0) == 0
    provider.assert_all_unloaded()
