import numpy as np
import pytest

from preloader.errors import BundleError
from preloader.evaluation.baselines import BASELINES, ContextBaseline
from preloader.evaluation.counts import EVERYTHING, ContextCounts
from preloader.events import ContextTracker, Event
from preloader.ports import Predictor


def learned(name, history, **options):
    """A baseline, and the context of the latest session, after (user, session, items) …."""
    predictor, contexts, context = BASELINES[name](**options), ContextTracker(), None
    for user, session, items in history:
        for item in items:
            event = Event(user=user, session=session, time_s=0.0, action="a", resources=(f"k:{item}",))
            predictor.learn_one(event)
            context = contexts.observe(event)
    return predictor, context


def steps(predictor, context, steps=3):
    return {p.key.removeprefix("k:"): p.per_step for p in predictor.predict(context, steps)}


def following(predictor, context):
    return {key: per_step[0] for key, per_step in steps(predictor, context, 1).items()}


def test_popular_is_the_relative_frequency():
    predictor, context = learned("popular", [("ann", "1", "aaab")])
    assert following(predictor, context) == {"a": 0.75, "b": 0.25}


def test_user_frequency_weighs_the_user_by_witten_bell():
    predictor, context = learned("user_frequency", [("bob", "1", "bbb"), ("ann", "2", "a")])
    # ann: n = 1, one distinct: 1/2 of her own, 1/2 of popularity
    assert following(predictor, context) == pytest.approx({"a": 0.5 + 0.5 / 4, "b": 0.5 * 3 / 4})


def test_order1_by_hand():
    predictor, context = learned("order1", [("ann", "1", "abacaba")])
    # popularity a 4/7, b 2/7, c 1/7; after a: b twice, c once: n = 3, two distinct
    assert following(predictor, context) == pytest.approx(
        {"a": 2 / 5 * 4 / 7, "b": 2 / 5 * 2 / 7 + 2 / 5, "c": 2 / 5 / 7 + 1 / 5}
    )


def test_order2_tells_apart_what_order1_cannot():
    history = [("ann", str(number), "xaYzaN"[3 * (number % 2) :][:3]) for number in range(20)]
    predictor, context = learned("order2", [*history, ("ann", "last", "xa")])
    assert steps(predictor, context)["Y"][0] > 0.8
    predictor, context = learned("order1", [*history, ("ann", "last", "xa")])
    assert steps(predictor, context)["Y"][0] < 0.6


def test_order2_user_lets_a_user_differ_in_what_follows_two_items():
    habits = {"ann": ("xay", "waz"), "bob": ("xaz", "way")}
    history = [(user, f"{n}{items}", items) for n in range(9) for user, two in habits.items() for items in two]
    for user, first, expected in (("ann", "x", "y"), ("ann", "w", "z"), ("bob", "x", "z"), ("bob", "w", "y")):
        predictor, context = learned("order2_user", [*history, (user, "last", first + "a")])
        assert following(predictor, context)[expected] > 0.8


def test_what_is_learned_after_a_prediction_changes_the_next():
    predictor, context = learned("order1", [("ann", "1", "aab")])
    before = following(predictor, context)
    predictor.learn_one(Event(user="ann", session="2", time_s=0.0, action="a", resources=("k:b",)))
    assert following(predictor, context)["b"] > before["b"]


def test_of_a_long_session_only_the_end_is_kept():
    predictor, _ = learned("order2", [("ann", "1", "abc" * 50)])
    (tail,) = predictor.snapshot().meta["tails"]
    assert len(tail[-1]) == 5  # three steps ahead of contexts of two items


def test_steps_are_counted_ahead_rather_than_repeated():
    predictor, context = learned("order1", [("ann", str(n), "abc") for n in range(50)] + [("ann", "last", "a")])
    likeliest = [max(steps(predictor, context).items(), key=lambda item: item[1][step])[0] for step in (0, 1)]
    assert likeliest == ["b", "c"]


def test_the_start_of_a_session_is_a_context():
    predictor, _ = learned("order1", [("ann", str(n), "abbbb") for n in range(20)])
    assert steps(predictor, ContextTracker().context("ann", "new"))["a"][0] > 0.9


def test_most_recent_ranks_the_session_then_the_user_then_everybody():
    predictor, context = learned("most_recent", [("bob", "1", "xyz"), ("ann", "1", "ab"), ("ann", "2", "c")])
    ranked = following(predictor, context)
    assert list(ranked) == ["c", "b", "a", "z", "y", "x"]
    assert list(ranked.values())[:3] == [1 / 2, 1 / 6, 1 / 12]


def test_most_recent_follows_a_user_without_learning_for_others():
    predictor, _ = learned("most_recent", [("ann", "1", "ab")])
    for key in ("k:a", "k:new"):
        predictor.follow(Event(user="ann", session="2", time_s=0.0, action="a", resources=(key,)))
    assert list(following(predictor, ContextTracker().context("ann", "3"))) == ["new", "a", "b"]
    assert list(following(predictor, ContextTracker().context("bob", "1"))) == ["b", "a"]


@pytest.mark.parametrize("name", BASELINES)
def test_kinds_are_kept_apart_and_can_be_chosen(name):
    event = Event(user="ann", session="1", time_s=0.0, action="a", resources=("k:a", "j:x"))
    both, one = BASELINES[name](), BASELINES[name](kinds=("j",))
    for predictor in (both, one):
        predictor.learn_one(event)
    context = ContextTracker().observe(event)
    assert {p.key for p in both.predict(context)} == {"k:a", "j:x"}
    assert {p.key for p in one.predict(context)} == {"j:x"}


@pytest.mark.parametrize("name", BASELINES)
def test_a_restored_baseline_goes_on_as_the_first(name):
    first, context = learned(name, [("ann", "1", "abac"), ("bob", "1", "ab")])
    second = BASELINES[name]()
    assert isinstance(second, Predictor)
    second.restore(first.snapshot())
    following = Event(user="bob", session="1", time_s=0.0, action="a", resources=("k:c",))
    for predictor in (first, second):
        predictor.learn_one(following)
    assert second.predict(context) == first.predict(context)


@pytest.mark.parametrize("name", BASELINES)
def test_a_foreign_or_damaged_snapshot_is_refused_and_changes_nothing(name):
    predictor, context = learned(name, [("ann", "1", "abac")])
    before = predictor.predict(context)
    other, _ = learned("order1" if name != "order1" else "order2", [("ann", "1", "a")])
    snapshot = predictor.snapshot()
    snapshot.meta.pop("counts", None)
    snapshot.meta.pop("users", None)
    for bad in (other.snapshot(), snapshot):
        with pytest.raises(BundleError):
            predictor.restore(bad)
    assert predictor.predict(context) == before


def test_counts_that_name_what_is_not_there_are_refused():
    counts = ContextCounts(3)
    counts.add([EVERYTHING], 1, "k:a")
    names, rows = counts.dump()
    for bad in (rows + 1, rows - 1, rows[:, :3], rows.astype(float)):
        with pytest.raises(BundleError, match="counts"):
            ContextCounts(3).load(names, bad)


@pytest.mark.parametrize("name", BASELINES)
def test_looking_further_than_the_horizon_is_refused(name):
    with pytest.raises(ValueError, match="steps is 4"):
        learned(name, [("ann", "1", "a")])[0].predict(ContextTracker().context("ann", "1"), 4)
    assert len(learned(name, [("ann", "1", "a")], horizon=5)[0].predict(ContextTracker().context("a", "1"), 5)) == 1


def test_counts_are_bounded_and_keep_what_is_frequent():
    counts = ContextCounts(horizon=1, max_counts=200)
    for number in range(5_000):
        counts.add([EVERYTHING, (None, f"k:{number // 3}")], 1, f"k:{number // 3}")
        counts.add([EVERYTHING, (None, "k:common")], 1, "k:common")
        rows = counts.dump()[1]
        assert len(rows) == len(counts) <= 200
        assert rows[:, 3].min() >= 1
    assert len(counts.keys) <= 200
    row = counts.mix([EVERYTHING, (None, "k:common")], 1)[0]
    assert counts.keys[int(np.argmax(row))] == "k:common"
    assert row.sum() == pytest.approx(1)
    assert sorted(counts.index.values()) == list(range(len(counts.keys)))


def test_a_bounded_baseline_still_predicts():
    predictor = ContextBaseline("tiny", lambda user, older, last: [EVERYTHING, (None, last)], max_counts=50)
    for number in range(2_000):
        key = f"k:{number}" if number % 3 else "k:common"
        predictor.learn_one(Event(user="ann", session="1", time_s=0.0, action="a", resources=(key,)))
    assert predictor.predict(ContextTracker().context("ann", "1"))[0].key == "k:common"
