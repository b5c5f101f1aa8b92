"""What the online predictor learns: each sort of evidence by itself, in histories where nothing else could help."""

import random

import numpy as np
import pytest

from preloader.errors import ConfigurationError
from preloader.events import Context, ContextTracker, Event
from preloader.history import load_sessions
from preloader.history.household import read_household
from preloader.prediction import OnlinePredictor, explain
from preloader.prediction.contexts import TEMPLATES, Past
from preloader.prediction.counts import SUCCESSORS, Counts
from preloader.prediction.vocabulary import FIRST, Vocabulary

HOUR = 3_600.0


def event(key=None, *, user="u", session="s", time_s=0.0, action=None, **more):
    resources = () if key is None else (f"k:{key}",)
    return Event(
        user=user, session=session, time_s=time_s, action=action or key or "quiet", resources=resources, **more
    )


def learned(events, **settings):
    predictor = OnlinePredictor(["k"], **settings)
    for one in events:
        predictor.learn_one(one)
    return predictor


def context(*events):
    return Context(events[-1].user, events[-1].session, tuple(events)) if events else Context()


def best(predictor, *events, step=1):
    predictions = predictor.predict(context(*events))
    return max(predictions, key=lambda prediction: prediction.per_step[step - 1]).key


def sessions(count, make, seed=0):
    rng = random.Random(seed)
    return [one for number in range(count) for one in make(rng, f"s{number}")]


def test_it_learns_what_follows_two_items():
    def make(rng, name):
        first = rng.choice("ab")
        keys = [first, "x", {"a": "left", "b": "right"}[first]]
        return [event(key, session=name) for key in keys]

    predictor = learned(sessions(60, make))
    assert best(predictor, event("a"), event("x")) == "k:left"
    assert best(predictor, event("b"), event("x")) == "k:right"


def test_each_step_is_learned_by_itself_and_not_by_repeating_the_first():
    """After `a` comes one of four, then surely c, then d."""

    def make(rng, name):
        return [event(key, session=name) for key in ["a", rng.choice(["b1", "b2", "b3", "b4"]), "c", "d"]]

    predictor = learned(sessions(80, make))
    assert best(predictor, event("a"), step=2) == "k:c"
    assert best(predictor, event("a"), step=3) == "k:d"
    prediction = {one.key: one.per_step for one in predictor.predict(context(event("a")))}
    assert prediction["k:c"][1] > 0.8
    assert prediction["k:c"][0] < 0.1


def test_users_are_told_apart_unless_told_not_to():
    def make(rng, name):
        user = rng.choice(["ann", "ben"])
        return [event(key, user=user, session=name) for key in ["start", {"ann": "tea", "ben": "coffee"}[user]]]

    history = sessions(80, make)
    predictor = learned(history)
    assert best(predictor, event("start", user="ann")) == "k:tea"
    assert best(predictor, event("start", user="ben")) == "k:coffee"
    blind = learned(history, users=False)
    assert blind.predict(context(event("start", user="ann"))) == blind.predict(context(event("start", user="ben")))


def test_the_time_of_day_tells_unless_told_not_to():
    def make(rng, name):
        hour = rng.choice([8, 20])
        day = rng.randrange(5)
        time_s = 1_767_571_200.0 + day * 24 * HOUR + hour * HOUR  # a week from Monday, 5 January 2026
        return [
            event(session=name, time_s=time_s, action="enters"),
            event({8: "news", 20: "tv"}[hour], session=name, time_s=time_s + 5),
        ]

    history = sessions(120, make)
    morning = event(time_s=1_767_571_200.0 + 8 * HOUR, action="enters")
    evening = event(time_s=1_767_571_200.0 + 20 * HOUR, action="enters")
    predictor = learned(history)
    assert best(predictor, morning) == "k:news"
    assert best(predictor, evening) == "k:tv"
    blind = learned(history, times=False)
    assert blind.predict(context(morning)) == blind.predict(context(evening))


def test_circumstances_tell():
    def make(rng, name):
        place = rng.choice(["kitchen", "bedroom"])
        key = {"kitchen": "oven", "bedroom": "lamp"}[place]
        return [event(session=name, action="enters", context={"place": place}), event(key, session=name)]

    predictor = learned(sessions(120, make))
    assert best(predictor, event(action="enters", context={"place": "kitchen"})) == "k:oven"
    assert best(predictor, event(action="enters", context={"place": "bedroom"})) == "k:lamp"


def test_a_failure_tells():
    def make(rng, name):
        ok = rng.random() < 0.5
        return [event("test", session=name, ok=ok), event("commit" if ok else "fix", session=name, time_s=9.0)]

    predictor = learned(sessions(120, make))
    assert best(predictor, event("test", ok=True)) == "k:commit"
    assert best(predictor, event("test", ok=False)) == "k:fix"


def test_how_an_event_ended_is_not_known_before_it_ended():
    """The result comes 100 s late, after the next item began: it must not be learned as if it had been known."""

    def make(rng, name):
        ok = rng.random() < 0.5
        late = event("test", session=name, ok=ok, duration_s=100.0)
        return [late, event("commit" if ok else "fix", session=name, time_s=9.0)]

    predictor = learned(sessions(120, make))
    told = [predictor.predict(context(event("test", ok=ok)))[0].per_step[0] for ok in (True, False)]
    assert max(told) < 0.75


def test_words_tell_unless_told_not_to():
    said = {"lights": ["turn on the lamp", "lamp please"], "music": ["play a song", "a song please"]}

    def make(rng, name):
        key = rng.choice(list(said))
        text = rng.choice(said[key])
        return [event(session=name, action="user", text=text), event(key, session=name)]

    history = sessions(150, make)
    predictor = learned(history)
    assert best(predictor, event(action="user", text="the lamp")) == "k:lights"
    assert best(predictor, event(action="user", text="some other song")) == "k:music"
    deaf = learned(history, words=False)
    assert deaf.predict(context(event(action="user", text="lamp"))) == deaf.predict(
        context(event(action="user", text="song"))
    )


def test_a_users_new_habit_replaces_the_old_one():
    old = [event(key, session=f"old{n}") for n in range(150) for key in ("a", "old")]
    new = [event(key, session=f"new{n}") for n in range(80) for key in ("a", "new")]
    assert best(learned(old), event("a")) == "k:old"
    assert best(learned(old + new), event("a")) == "k:new"


def test_what_the_session_does_itself_tells_where_nothing_was_learned():
    """A stranger goes x y x y x: y followed x before. Only the weights of recency were learned, from other keys."""

    def make(rng, name):
        one, other = rng.sample([f"item{n}" for n in range(40)], 2)
        return [event(key, user=name, session=name) for key in [one, other] * 4]

    predictor = learned(sessions(120, make))
    stranger = [event(key, user="new", session="new") for key in ["item3", "item7"] * 2 + ["item3"]]
    assert best(predictor, *stranger) == "k:item7"


def test_probability_is_kept_for_what_was_never_seen():
    always_new = [event(f"item{n}", session=f"s{n // 5}") for n in range(300)]
    predictor = learned(always_new)
    assert sum(one.per_step[0] for one in predictor.predict(context(always_new[-1]))) < 0.3
    always_known = [event(f"item{n % 3}", session=f"s{n // 5}") for n in range(300)]
    predictor = learned(always_known)
    assert sum(one.per_step[0] for one in predictor.predict(context(always_known[-1]))) > 0.97


def test_use_is_likelier_within_ten_items_than_within_three():
    rng = random.Random(3)
    history = [event(rng.choice("abcdefghij"), session=f"s{n // 60}", time_s=float(n)) for n in range(3_000)]
    predictions = learned(history).predict(context(*history[-20:]))
    assert all(one.p_use_if_loaded >= one.p_use_soon for one in predictions)
    soon = sum(one.p_use_soon for one in predictions) / 10
    loaded = sum(one.p_use_if_loaded for one in predictions) / 10
    assert soon == pytest.approx(1 - 0.9**3, abs=0.06)
    assert loaded == pytest.approx(1 - 0.9**10, abs=0.08)


def test_a_session_that_falls_silent_counts_as_unused():
    """Sessions of two items, hours apart: after the second nothing is used any more."""
    history = [
        event(key, session=f"s{n}", time_s=n * 2 * HOUR + at)
        for n in range(800)
        for at, key in enumerate([f"item{n % 7}", f"item{(n + 1) % 7}"])
    ]
    predictions = learned(history).predict(Context("u", "new"))
    assert sum(one.p_use_if_loaded for one in predictions) == pytest.approx(2.0, abs=0.5)


def test_kinds_that_were_not_asked_for_are_not_learned():
    predictor = OnlinePredictor(["a"])
    predictor.learn_one(Event(user="u", session="s", time_s=0.0, action="go", resources=("a:1", "b:1")))
    assert predictor.kinds == ("a",)
    assert {one.key for one in predictor.predict(Context())} == {"a:1"}


def test_kinds_that_are_met_are_bounded():
    predictor = OnlinePredictor(max_kinds=2, max_contexts=64)
    for number in range(5):
        predictor.learn_one(Event(user="u", session="s", time_s=0.0, action="go", resources=(f"k{number}:1",)))
    assert predictor.kinds == ("k0", "k1")


def test_thousands_of_keys_leave_the_likely_ones():
    rng = random.Random(5)
    history = []
    for number in range(900):
        history += [event("a", session=f"s{number}"), event("b", session=f"s{number}")]
        history += [event(f"file{rng.randrange(10**9)}", session=f"s{number}")]
    predictor = learned(history)
    assert len(predictor.model("k").vocabulary.ids) > 800
    predictions = predictor.predict(context(event("a")))
    assert len(predictions) <= 64
    assert predictions[0].key == "k:b"
    assert predictions[0].per_step[0] > 0.8


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0}, {"horizon": 99}, {"max_contexts": 1}, {"max_predictions": 0}, {"word_bits": 64}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        OnlinePredictor(**wrong)


def test_a_reused_row_is_another_contexts():
    counts = Counts(horizon=2, capacity=3)
    for value in (10, 20, 30):
        counts.count(counts.find_or_add(np.array([value]))[None, :], FIRST)
    rows = counts.find_or_add(np.array([40]))
    assert counts.find(np.array([10])).tolist() == [0]
    assert counts.hashes[rows].tolist() == [40]
    assert counts.told(rows, FIRST) == [(0, 0, False)]
    assert len(counts) == 3


def test_a_full_context_keeps_what_is_frequent():
    counts = Counts(horizon=1, capacity=4)
    rows = counts.find_or_add(np.array([1]))[None, :]
    for _ in range(5):
        counts.count(rows, FIRST)
    for number in range(SUCCESSORS + 5):
        counts.count(rows, FIRST + 1 + number)
    assert counts.told(rows[0], FIRST)[0][0] == 5
    for _ in range(1_000):
        counts.count(rows, FIRST)
    (count, total, held), *_ = counts.told(rows[0], FIRST)
    assert held
    assert count <= total < 128


def test_a_full_vocabulary_forgets_what_was_unused_for_longest():
    vocabulary = Vocabulary(capacity=8)
    for name in "abcdefgh":
        vocabulary.count(vocabulary.add(name), is_new=True)
    vocabulary.count(vocabulary.ids["a"], is_new=False)
    assert vocabulary.is_full
    gone = vocabulary.forget_oldest()
    assert "b" not in vocabulary.ids
    assert "a" in vocabulary.ids
    assert vocabulary.add("i") in gone


def test_every_context_has_a_hash_of_its_own():
    events = [event(key, time_s=float(n), context={"place": "x"}) for n, key in enumerate("abc")]
    hashes = Past.of(context(*events), "k:").hashes().tolist()
    assert len(set(hashes)) == len(TEMPLATES)
    other = Past.of(context(*events[:2], event("d", time_s=2.0, context={"place": "x"})), "k:").hashes().tolist()
    same = [a == b for a, b in zip(hashes, other, strict=True)]
    assert sum(same) == sum(not {"last", "deed", "details"} & set(t.ingredients) for t in TEMPLATES)


def test_an_explanation_adds_up():
    history = sessions(60, lambda rng, name: [event(key, session=name) for key in "abc"])
    predictor = learned(history)
    now = context(event("a"))
    said = explain(predictor, now, "k:b")
    told = {one.key: one for one in predictor.predict(now)}
    assert said.known
    assert said.prediction == told["k:b"]
    after = next(one for one in said.contexts if one.context == "after k:a")
    assert (after.scope, after.order, after.count) == ("global", 1, 60)
    assert after.total == 61  # the first time, a key that was not known yet came too

    def score(key):
        one = explain(predictor, now, key)
        return one.popularity + sum(part.evidence for part in (*one.contexts, *one.marks, *one.words))

    odds = np.log(told["k:b"].per_step[0] / told["k:c"].per_step[0])
    assert score("k:b") - score("k:c") == pytest.approx(odds, abs=1e-6)


def test_what_is_not_known_is_explained_so():
    said = explain(learned([event("a")]), Context(), "k:unheard of")
    assert not said.known
    assert said.prediction.per_step == (0.0, 0.0, 0.0)
    assert not explain(learned([event("a")]), Context(), "other:a").known


def test_words_are_explained():
    said = {"lights": "the lamp", "music": "a song"}

    def make(rng, name):
        key = rng.choice(list(said))
        return [event(session=name, action="user", text=said[key]), event(key, session=name)]

    explained = explain(learned(sessions(100, make)), context(event(action="user", text="the lamp")), "k:lights")
    assert {one.what for one in explained.words} == {"the", "lamp", "the lamp"}
    assert all(one.evidence > 0 for one in explained.words)


def test_it_comes_close_to_the_truth_of_a_household():
    """After five weeks: at least 93 % of the best accuracy that there is with the words heard, on the week after."""
    spec = "household:seed=2,users=4,days=42"
    household = read_household(spec)
    history = sorted(
        (one for session in load_sessions([spec], "household") for one in session.events), key=lambda one: one.time_s
    )
    predictor, tracker = OnlinePredictor(["component"], word_bits=16), ContextTracker()
    right, optimum, count = 0, 0.0, 0
    for one in history:
        before = tracker.context(one.user, one.session)
        if one.resources and one.time_s > history[0].time_s + 35 * 86_400:
            truth = household.truth(before)
            right += predictor.predict(before)[0].key == one.resources[0]
            optimum += max(truth.values())
            count += 1
        predictor.learn_one(one)
        tracker.observe(one)
    assert count > 300
    assert right >= 0.93 * optimum
