"""The shipped fakes: they are relied upon in every other test."""

import asyncio
import doctest
import itertools
from contextlib import nullcontext

import pytest

import preloader.testing
from preloader.errors import BundleError, UnknownResourceError
from preloader.events import Context, Event
from preloader.ports import Cost, Predictor
from preloader.testing import FakePredictor, FakeProvider, Hang, fake_prediction, random_events


def test_the_examples_in_their_docstrings_hold():
    result = doctest.testmod(preloader.testing)
    assert result.attempted > 0
    assert result.failed == 0


def make_provider(**options):
    return FakeProvider({"fake:a": Cost(0.0, 10), "fake:b": Cost(0.0, 20)}, **options)


def test_a_script_is_played_and_then_loads_succeed():
    provider = make_provider(script={"fake:a": [OSError("once"), 0.001]})

    async def main():
        with pytest.raises(OSError, match="once"):
            await provider.load("fake:a")
        return [(await provider.load("fake:a")).value.number for _ in range(2)]

    assert asyncio.run(main()) == [1, 2]
    assert provider.started == ["fake:a"] * 3
    assert len(provider.loaded) == 2


def test_a_hang_ends_with_cancellation_only():
    provider = make_provider(script={"fake:a": [Hang()]})

    async def main():
        load = asyncio.create_task(provider.load("fake:a"))
        await asyncio.wait([load], timeout=0.01)
        assert not load.done()
        load.cancel()
        await asyncio.wait([load])

    asyncio.run(main())
    assert provider.cancelled == ["fake:a"]
    provider.assert_all_unloaded()


@pytest.mark.parametrize(
    ("unloads", "complaint"), [(0, "never unloaded: FakeValue"), (1, None), (2, "unloaded too often: FakeValue")]
)
def test_every_value_must_be_unloaded_exactly_once(unloads, complaint):
    provider = make_provider()

    async def main():
        loaded = await provider.load("fake:a")
        for _ in range(unloads):
            await provider.unload("fake:a", loaded.value)

    asyncio.run(main())
    with pytest.raises(AssertionError, match=complaint) if complaint else nullcontext():
        provider.assert_all_unloaded()


def test_unloading_under_another_key_is_a_mistake():
    provider = make_provider()
    value = asyncio.run(provider.load("fake:a")).value
    with pytest.raises(AssertionError, match="unloaded as 'fake:b'"):
        asyncio.run(provider.unload("fake:b", value))


def test_a_change_during_a_load_makes_its_value_stale():
    provider = make_provider(script={"fake:a": [0.001]}, immutable=False)

    async def main():
        load = asyncio.create_task(provider.load("fake:a"))
        await asyncio.sleep(0)
        provider.change("fake:a")
        value = (await load).value
        assert not await provider.is_fresh("fake:a", value)
        assert await provider.is_fresh("fake:a", (await provider.load("fake:a")).value)

    asyncio.run(main())


def test_what_has_no_cost_does_not_exist():
    with pytest.raises(UnknownResourceError, match="'fake:z' among the 2"):
        make_provider().cost("fake:z")


EVENT = Event(user="u", session="s", time_s=0.0, action="wake")


def test_a_predictor_answers_by_table_likeliest_first():
    table = {"wake": [fake_prediction("c:a", 0.1, 0.5), fake_prediction("c:b", 0.9, 0.1)]}
    predictor = FakePredictor(table)
    assert isinstance(predictor, Predictor)
    assert predictor.predict(Context()) == []
    assert [p.key for p in predictor.predict(Context().after(EVENT), steps=2)] == ["c:b", "c:a"]
    assert predictor.predict(Context().after(EVENT), steps=1)[0].per_step == (0.9,)
    with pytest.raises(ValueError, match="0"):
        predictor.predict(Context(), steps=0)


def test_a_predictor_answers_by_function():
    predictor = FakePredictor(lambda context, steps: [fake_prediction("c:a", *[len(context.recent) / 10] * steps)])
    assert predictor.predict(Context().after(EVENT), steps=2)[0].per_step == (0.1, 0.1)


def test_a_predictors_state_is_what_it_learned():
    predictor, other = FakePredictor({}), FakePredictor({})
    predictor.learn_one(EVENT)
    other.restore(predictor.snapshot())
    assert other.learned == [EVENT]
    with pytest.raises(BundleError, match="'online', not of 'fake'"):
        other.restore(preloader.testing.Snapshot({"predictor": "online"}, {}))


def test_random_histories_are_ordered_and_repeatable():
    events = random_events(seed=1)
    assert events == random_events(seed=1)
    assert events != random_events(seed=2)
    assert len(events) == 3 * 4 * 20
    assert {event.user for event in events} == {"user0", "user1", "user2"}
    assert all(earlier.time_s <= later.time_s for earlier, later in itertools.pairwise(events))
    assert {len(event.keys("component")) for event in events} == {0, 1, 2}
