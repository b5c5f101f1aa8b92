"""Dependencies on virtual time: loaded in parallel, once, held, released last; failing at once and alone."""

import asyncio

import pytest

from preloader.components.registry import ComponentRegistry
from preloader.errors import LoadError, UnknownResourceError
from preloader.events import NeedOutcome, PreloadOutcome
from preloader.ports import Cost
from preloader.testing import FakeProvider, fake_prediction
from tests.unit.manager_scene import MB, Scene, costs, event, run

DIAMOND = {
    "component:top": ["component:left", "component:right"],
    "component:left": ["component:base"],
    "component:right": ["component:base"],
}


def key(name):
    return f"component:{name}"


def names(keys):
    return "".join(each.removeprefix("component:") for each in keys)


def now_s():
    return asyncio.get_running_loop().time()


def requiring(**requires):
    return {key(name): [key(each) for each in needed] for name, needed in requires.items()}


def provider_of(requires, script=None, **seconds):
    every = dict.fromkeys([*requires, *(each for needed in requires.values() for each in needed)])
    price = {each: Cost(seconds.get(each.removeprefix("component:"), 1.0), 100 * MB) for each in every}
    return FakeProvider(price, requires, {key(name): steps for name, steps in (script or {}).items()})


class Liar(FakeProvider):
    """A provider whose dependencies are what it is told to say, one answer after the other."""

    def __init__(self, price, answers):
        super().__init__(price)
        self.answers = {key(name): list(told) for name, told in answers.items()}

    def dependencies(self, asked):
        told = self.answers.get(asked, [""])
        return [key(name) for name in (told.pop(0) if len(told) > 1 else told[0])]


def test_what_does_not_require_each_other_loads_at_the_same_time():
    scene = Scene(provider_of(DIAMOND))

    async def script(manager):
        await manager.get(key("top"))
        assert now_s() == pytest.approx(3.0)

    run(scene, script)
    assert names(scene.provider.started) == "baseleftrighttop"


def test_the_longest_remaining_path_starts_first():
    requires = requiring(top=["a", "b", "y"], y=["x"])
    scene = Scene(provider_of(requires, x=1.0, y=5.0), settings={"loaders": 1})

    async def script(manager):
        await manager.get(key("top"))

    run(scene, script)
    assert names(scene.provider.started) == "xyabtop"


@pytest.mark.parametrize(("loaders", "took_s"), [(1, 9.0), (2, 5.0), (4, 3.0), (None, 4.0)])
def test_as_many_load_at_once_as_there_are_loaders(loaders, took_s):
    requires = requiring(top=list("abcdefgh"))
    scene = Scene(provider_of(requires), settings={"loaders": loaders, "tier_workers": (3, 2, 1)})

    async def script(manager):
        await manager.get(key("top"))
        assert now_s() == pytest.approx(took_s)

    run(scene, script)


def test_a_preload_loads_as_many_dependencies_at_once_as_its_tier_has_workers():
    requires = requiring(top=list("abcd"))
    answers = {"go": [fake_prediction(key("top"), 0.95)]}
    scene = Scene(provider_of(requires), answers, settings={"tier_workers": (2, 1, 1)})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(2.9)
        assert key("top") not in manager._store
        await asyncio.sleep(0.2)
        assert await manager.get(key("top"))

    run(scene, script)
    assert scene.needs == [("top", NeedOutcome.HIT)]


def test_two_needs_share_what_both_require():
    requires = requiring(a=["base", "x"], b=["base", "y"])
    scene = Scene(provider_of(requires))

    async def script(manager):
        await asyncio.gather(manager.get(key("a")), manager.get(key("b")))
        assert now_s() == pytest.approx(2.0)

    run(scene, script)
    assert sorted(scene.provider.started) == sorted(map(key, ["a", "b", "base", "x", "y"]))
    unloaded = [value.key for value in scene.provider.unloaded]
    assert unloaded.index(key("base")) > max(unloaded.index(key("a")), unloaded.index(key("b")))
    scene.provider.assert_all_unloaded()


def test_what_is_too_large_to_be_stored_is_loaded_once_for_all_that_require_it():
    provider = provider_of(DIAMOND)
    provider.costs[key("base")] = Cost(1.0, 900 * MB)
    scene = Scene(provider, settings={"budget_bytes": 500 * MB})

    async def script(manager):
        await manager.get(key("top"))
        assert names(provider.unloaded) == ""
        await manager.clear()

    run(scene, script)
    assert names(provider.started) == "baseleftrighttop"
    provider.assert_all_unloaded()


def test_a_failing_dependency_fails_its_dependents_at_once_and_alone():
    requires = requiring(top=["bad", "slow", "wanted"], other=["wanted", "fine"])
    script = {"bad": [OSError("broken")] * 3}
    scene = Scene(provider_of(requires, script, slow=50.0, wanted=10.0), settings={"load_attempts": 1})

    async def play(manager):
        other = asyncio.create_task(manager.get(key("other")))
        await asyncio.sleep(0)
        with pytest.raises(LoadError, match="cannot load component:bad: its loader raised OSError: broken"):
            await manager.get(key("top"))
        assert now_s() == 0.0
        await other
        assert now_s() == pytest.approx(11.0)

    run(scene, play)
    assert names(scene.provider.cancelled) == "slow"
    assert sorted(value.key for value in scene.provider.loaded) == sorted(map(key, ["fine", "other", "wanted"]))
    scene.provider.assert_all_unloaded()


def test_a_failure_at_the_bottom_of_a_deep_chain_reaches_its_top():
    registry = ComponentRegistry()

    @registry.component("n0", bytes=1, load_s=1.0)
    async def fail():
        raise OSError("broken")

    for at in range(1, 2_000):
        registry.simulated(f"n{at}", bytes=1, load_s=1.0, requires=[f"n{at - 1}"])
    scene = Scene(registry.provider(), settings={"load_attempts": 1})

    async def play(manager):
        with pytest.raises(LoadError, match="component:n0: its loader raised OSError: broken"):
            await manager.get(key("n1999"))
        assert now_s() == 0.0

    run(scene, play)


def test_a_cancelled_need_takes_its_dependencies_with_it_unless_others_need_them():
    requires = requiring(top=["a", "b"], other=["b"])
    scene = Scene(provider_of(requires))

    async def play(manager):
        top = asyncio.create_task(manager.get(key("top")))
        other = asyncio.create_task(manager.get(key("other")))
        await asyncio.sleep(0.5)
        top.cancel()
        await asyncio.wait([top, other])
        assert now_s() == pytest.approx(2.0)

    run(scene, play)
    assert names(scene.provider.cancelled) == "a"
    scene.provider.assert_all_unloaded()


def test_a_need_takes_the_whole_of_a_speculative_load_with_it_and_overtakes_all_others():
    requires = requiring(top=["a", "b"], b=["c"])
    answers = {"go": [fake_prediction(key(name), 0.95) for name in ("x", "top")]}
    provider = provider_of(requires | requiring(x=["w"]))
    scene = Scene(provider, answers, settings={"loaders": 1})

    async def play(manager):
        manager.observe(event("go"))  # w begins, for x; top waits for its turn
        await asyncio.sleep(0.5)
        await manager.get(key("top"))  # …and takes the one slot, for all that it requires
        assert now_s() == pytest.approx(4.5)

    run(scene, play)
    assert names(provider.started) == "wcabtop"
    assert names(provider.cancelled) == "w"
    assert ("x", PreloadOutcome.WASTED) in scene.preloads


def test_a_need_that_joins_a_speculative_load_speeds_up_what_that_waits_for():
    requires = requiring(top=["a", "b", "c"])
    answers = {"go": [fake_prediction(key("top"), 0.95)], "on": [fake_prediction(key("top"), 0.95)]}
    scene = Scene(provider_of(requires), answers, settings={"tier_workers": (1, 1, 3)})

    async def play(manager):
        manager.observe(event("go"))
        await asyncio.sleep(0.5)
        await manager.get(key("top"))
        assert now_s() == pytest.approx(3.0)  # a until 1.0, b and c with three at once until 2.0

    run(scene, play)
    assert scene.needs == [("top", NeedOutcome.LATE_HIT)]


def test_a_speculative_load_that_a_need_requires_is_not_preempted_by_another():
    answers = {"go": [fake_prediction(key("b"), 0.95)]}
    scene = Scene(provider_of(requiring(top=["b"], other=[]), b=4.0), answers, settings={"loaders": 1})

    async def play(manager):
        manager.observe(event("go"))
        await asyncio.sleep(1.0)
        top = asyncio.create_task(manager.get(key("top")))
        await asyncio.sleep(1.0)
        await asyncio.gather(top, manager.get(key("other")))
        assert now_s() == pytest.approx(6.0)

    run(scene, play)
    assert scene.provider.cancelled == []


@pytest.mark.parametrize(
    ("answers", "circle"),
    [
        ({"a": ["a"]}, "a → component:a"),
        ({"a": ["b"], "b": ["a"]}, "a → component:b → component:a"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "b → component:c → component:b"),
        ({"a": ["b"], "b": ["", "a"]}, "a → component:b → component:a"),  # told only when it is b's turn
    ],
)
def test_a_provider_whose_dependencies_go_in_a_circle_is_told_so(answers, circle):
    scene = Scene(Liar(costs(*"abc"), answers))

    async def play(manager):
        with pytest.raises(LoadError, match=r"circle: .*component:") as caught:
            await manager.get(key("a"))
        shown = str(caught.value).partition("circle: ")[2].split(" → ")
        expected = ("component:" + circle).split(" → ")
        assert shown[0] == shown[-1]
        assert set(shown) == set(expected)
        assert len(shown) == len(expected)

    run(scene, play)
    scene.provider.assert_all_unloaded()


def test_two_loads_that_come_to_wait_for_each_other_do_not_wait_for_ever():
    """Each says what it requires only after the other has begun to load as if it required nothing of it."""
    answers = {"a": ["b", ""], "b": ["", "a", ""]}
    scene = Scene(Liar(costs("a", "b"), answers))

    async def play(manager):
        got = await asyncio.gather(manager.get(key("a")), manager.get(key("b")), return_exceptions=True)
        assert any(isinstance(one, LoadError) for one in got)
        assert all("circle" in str(one) or "for what waits for it" in str(one) for one in got if type(one) is LoadError)

    run(scene, play)
    scene.provider.assert_all_unloaded()


def test_a_provider_that_makes_up_dependencies_without_end_is_stopped(monkeypatch):
    class Endless(FakeProvider):
        def dependencies(self, asked):
            return [f"{asked}x"]

        def cost(self, asked):
            return Cost(1.0, 1)

    monkeypatch.setattr("preloader.gathering._MOST", 50)
    scene = Scene(Endless(costs("a")))

    async def play(manager):
        with pytest.raises(LoadError, match=r"it requires more than 50 others, such as component:ax+"):
            await manager.get(key("a"))

    run(scene, play)


def test_an_unknown_dependency_fails_before_anything_is_loaded():
    provider = provider_of(requiring(top=["a", "b"]))
    del provider.costs[key("b")]
    scene = Scene(provider)

    async def play(manager):
        with pytest.raises(UnknownResourceError, match="there is no 'component:b'"):
            await manager.get(key("top"))

    run(scene, play)
    assert provider.started == []


def test_a_hit_counts_the_preloads_of_what_it_stands_on_however_deep():
    registry = ComponentRegistry()
    for at in range(50):
        registry.simulated(f"n{at}", bytes=10, load_s=0.01, requires=[f"n{at - 1}"] if at else [])
    scene = Scene(registry.provider(), {"go": [fake_prediction(key("n20"), 0.95)]})

    async def play(manager):
        manager.observe(event("go"))
        await asyncio.sleep(1)
        await manager.get(key("n49"))
        entry = manager._store.get(key("n0"))
        assert entry.proved
        assert [held.key for held in manager._store.get(key("n1")).holds] == [key("n0")]
        manager.end_session("u", "s")

    run(scene, play)
    assert scene.preloads == [("n20", PreloadOutcome.USED)]


@pytest.mark.parametrize(("loaders", "is_ready"), [(None, True), (1, False)])
def test_a_preload_is_expected_to_take_as_long_as_its_longest_path_or_its_share_of_the_workers(loaders, is_ready):
    scene = Scene(provider_of(DIAMOND), settings={"loaders": loaders})

    async def script(manager):
        manager.hint(key("top"), 0.95, ttl_s=3.5)  # in parallel it takes 3 s, one after the other 4
        await asyncio.sleep(3.2)
        return manager.statistics().residents

    assert run(scene, script) == (4 if is_ready else 0)
    assert (scene.reasons() == ["cannot be ready before its deadline"]) is not is_ready


def test_what_stands_on_a_value_that_was_replaced_is_stale_even_if_that_value_seems_fresh_again():
    class Fickle(FakeProvider):
        doubts = False

        async def is_fresh(self, asked, value):
            doubted, self.doubts = self.doubts and asked == key("base"), False
            return not doubted

    provider = Fickle({key("base"): Cost(1.0, 1), key("top"): Cost(1.0, 1)}, requiring(top=["base"]), immutable=False)

    async def script(manager):
        first = await manager.get(key("top"))
        provider.doubts = True
        await manager.get(key("base"))  # is loaded anew, beside the one that the first stands on
        return first, await manager.get(key("top"))

    first, second = run(Scene(provider), script)
    assert second is not first
    provider.assert_all_unloaded()
