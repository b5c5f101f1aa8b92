"""The mixture of experts: what each of its parts adds, and that it loses nothing on the way."""

import math

import msgspec
import numpy as np
import pytest

from preloader.errors import ConfigurationError
from preloader.evaluation.baselines import BASELINES
from preloader.events import Context, ContextTracker
from preloader.ports import Ready
from preloader.prediction import OnlinePredictor
from preloader.prediction.calibration import Calibration
from preloader.prediction.distribution import Distribution
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.panel import Aligner
from preloader.prediction.pool import LogPool
from preloader.prediction.uses import UseStack
from preloader.testing import random_events
from tests.unit.mixture_sample import KIND, Oracle, contexts_of, event, fitted, mixture_of_two


def prequential(predictor, events, kind=KIND):
    """Return the mean log loss and the top-1 accuracy of what was said before each item."""
    tracker, losses, hits = ContextTracker(), [], []
    for one in events:
        for key in one.keys(kind)[:1]:
            told = predictor.distribution(tracker.context(one.user, one.session), kind, 1)
            column = told.index.get(key)
            row = told.probabilities[0]
            losses.append(-math.log(max(row[column], 1e-6)) if column is not None else -math.log(1e-6))
            hits.append(column is not None and row.argmax() == column)
        predictor.learn_one(one)
        tracker.observe(one)
    return np.mean(losses), np.mean(hits)


def test_keys_that_only_others_name_share_the_mass_that_is_left_for_them():
    names_two = Distribution({"k:a": 0, "k:b": 1}, np.array([[0.5, 0.3]]))  # 0.2 for all other keys
    names_other = Distribution({"k:c": 0, "k:a": 1, "k:d": 2}, np.array([[0.3, 0.4, 0.1]]))  # 0.2 for all other keys
    panel = Aligner().panel([names_two, names_other], 1)
    first, second = (dict(zip([*panel.alignment.index, "new"], np.exp(row), strict=True)) for row in panel.logs[:, 0])
    assert first == pytest.approx({"k:a": 0.5, "k:b": 0.3, "k:c": 0.1, "k:d": 0.2 / 6, "new": 0.2 / 3}, abs=2e-4)
    assert second == pytest.approx({"k:a": 0.4, "k:b": 0.12, "k:c": 0.3, "k:d": 0.1, "new": 0.08}, abs=2e-4)


def test_the_index_is_kept_while_the_keys_are_the_same():
    aligner = Aligner()
    told = [Distribution({"k:a": 0, "k:b": 1}, np.full((1, 2), 0.5)), Distribution({"k:b": 0}, np.ones((1, 1)))]
    first = aligner.panel(told, 1).alignment
    assert aligner.panel(told, 1).alignment is first
    told[1] = Distribution({"k:b": 0, "k:c": 1}, np.full((1, 2), 0.5))
    assert aligner.panel(told, 1).alignment is not first


def test_an_expert_that_says_nothing_of_a_step_leaves_it_to_the_others():
    always = Oracle("always", lambda context: {"k:a": 0.6, "k:b": 0.4})
    never = Oracle("never", lambda context: {})
    alone, both = MixturePredictor([always], ["k"]), MixturePredictor([always, never], ["k"])
    for number in range(30):
        for predictor in (alone, both):
            predictor.learn_one(event(number, "k:b" if number % 3 else "k:a"))
    context = Context("u", "s")
    assert both.distribution(context, "k", 3).index == alone.distribution(context, "k", 3).index
    one, two = (p.distribution(context, "k", 3).probabilities for p in (alone, both))
    assert two == pytest.approx(one, abs=0.05)
    assert MixturePredictor([never], ["k"]).predict(context) == []


def test_the_pool_is_surer_than_each_of_two_experts_who_know_different_things():
    rng = np.random.default_rng(1)
    pool, aligner, own = LogPool(2, 1), Aligner(), LogPool(2, 1).new_user()
    step, losses = np.array([0]), []
    for _ in range(1_500):
        came = int(rng.integers(4))
        index = {f"k:{n}": n for n in range(4)}
        low, high = np.full(4, 0.1), np.full(4, 0.1)  # one tells the low bit, the other the high bit, both 4 in 5 times
        low[[n for n in range(4) if n % 2 == came % 2]] = 0.4
        high[[n for n in range(4) if n // 2 == came // 2]] = 0.4
        panel = aligner.panel([Distribution(index, low[None]), Distribution(index, high[None])], 1)
        chances, sets = pool.mix(panel, step, own, 0)
        losses.append([-math.log(chances[0, came]), *-panel.logs[:, 0, came]])
        pool.learn(panel, step, np.array([came]), own, chances, sets)
    mixed, *alone = np.mean(losses[500:], axis=0)
    assert mixed < 0.3 * min(alone)


def test_the_mixture_is_better_than_each_of_its_experts():
    events = [one for seed in range(3) for one in random_events(seed, users=3, sessions=5)]
    events = [msgspec.structs.replace(one, session=f"{one.session}.{n // 400}") for n, one in enumerate(events)]
    mixture, _ = prequential(mixture_of_two(), events)
    alone = [prequential(make(), events)[0] for make in (OnlinePredictor, BASELINES["order2"])]
    assert mixture < min(alone)


def test_weights_follow_who_is_good_for_the_user():
    parts = {"anna": "k:a", "ben": "k:b"}
    experts = [
        Oracle("likes a", lambda context: {"k:a": 0.9, "k:b": 0.1}),
        Oracle("likes b", lambda context: {"k:a": 0.1, "k:b": 0.9}),
    ]
    predictor = MixturePredictor(experts, ["k"], pool=False, calibrate=False)
    for number in range(40):
        for user, key in parts.items():
            predictor.learn_one(event(number, key, user=user))
    blend = predictor.mixture("k").blend
    assert blend.weights("anna")[0, 0] > 0.95
    assert blend.weights("ben")[0, 1] > 0.95
    for user, key in parts.items():
        assert predictor.predict(Context(user, "new"))[0].key == key
    stranger = predictor.distribution(Context("carl", "new"), "k", 1).probabilities[0]
    assert stranger == pytest.approx([0.5, 0.5], abs=0.45)


def test_what_is_said_of_later_steps_is_scored_by_the_later_items():
    """Items alternate: an expert who always repeats is right about every second item only."""
    repeats = Oracle(
        "repeats", lambda context: {"k:a": 0.5, "k:b": 0.5, **dict.fromkeys([*context.items("k")][:1], 0.9)}
    )
    evens = Oracle("even", lambda context: {"k:a": 0.5, "k:b": 0.5})
    predictor = MixturePredictor([repeats, evens], ["k"], pool=False, calibrate=False)
    fitted(predictor, [event(n, "k:a" if n % 2 else "k:b") for n in range(60)])
    weights = predictor.mixture("k").blend.weights("u")
    assert weights[0, 0] < 0.05
    assert weights[1, 0] > 0.9
    assert weights[2, 0] < 0.05


def test_each_step_is_scored_by_what_was_said_of_it():
    """Items go round; one expert knows where to, at each step another key, the other says the same of all steps."""
    keys = [f"k:{number}" for number in range(5)]

    class Knows(Oracle):
        def distribution(self, context, kind, steps):
            last = next(iter(context.items(kind)), keys[-1])
            rows = np.full((steps, 5), 0.025)
            rows[range(steps), [(keys.index(last) + step) % 5 for step in range(1, steps + 1)]] = 0.9
            return Distribution({key: at for at, key in enumerate(keys)}, rows)

    experts = [Knows("knows", None), Oracle("even", lambda context: dict.fromkeys(keys, 0.2))]
    predictor = MixturePredictor(experts, ["k"], pool=False)
    fitted(predictor, [event(number, keys[number % 5]) for number in range(60)])
    blend = predictor.mixture("k").blend
    assert (blend.weights("u")[:, 0] > 0.95).all()
    assert blend.losses[:, 0] == pytest.approx(np.full(3, -math.log(0.9)), abs=0.01)


def test_calibration_mends_what_is_too_sure_and_changes_no_ranking():
    rng = np.random.default_rng(2)
    calibration, step = Calibration(1), np.array([0])
    gaps = []
    for number in range(4_000):
        true = rng.dirichlet(np.full(5, 0.7))
        stated = true**2 / (true**2).sum()
        came = int(rng.choice(5, p=true))
        told = calibration.apply(stated[None], step)[0]
        assert told.sum() == pytest.approx(1.0)
        assert (np.argsort(told, kind="stable") == np.argsort(stated, kind="stable")).all()
        if number >= 1_500:
            gaps.append((told.max() - (told.argmax() == came), stated.max() - (stated.argmax() == came)))
        calibration.learn(stated[None], step, np.array([came]))
    mended, before = np.mean(gaps, axis=0)
    assert abs(before) > 0.1
    assert abs(mended) < 0.02


def test_calibration_goes_on_adapting():
    rng = np.random.default_rng(3)
    calibration, step = Calibration(1), np.array([0])
    stated = np.array([[0.8, 0.2]])
    for right in (0.95, 0.7):
        for _ in range(4_000):
            calibration.learn(stated, step, np.array([int(rng.random() > right)]))
        assert calibration.apply(stated, step)[0, 0] == pytest.approx(right, abs=0.05)


def test_experts_are_asked_once_about_each_context():
    expert = Oracle("one", lambda context: {"k:a": 0.6, "k:b": 0.4})
    predictor, tracker = MixturePredictor([expert], ["k"]), ContextTracker()
    for number in range(10):
        one = event(number, "k:a")
        predictor.learn_one(one)
        context = tracker.observe(one)
        predictor.predict(context)
        predictor.distribution(context, "k", 2)
    assert expert.asked == 11  # and before the first event


def test_the_end_of_an_earlier_event_that_came_meanwhile_is_asked_about_anew():
    heard = []
    expert = Oracle("one", lambda context: heard.append(context.recent) or {"k:a": 1.0})
    predictor = MixturePredictor([expert], ["k"])
    first = event(0, "k:a", ok=True, duration_s=10.0)
    predictor.learn_one(first)
    predictor.predict(Context("u", "s", (first,)))
    predictor.learn_one(event(5, "k:a"))
    assert [[one.ok for one in recent] for recent in heard] == [[], [True], [None]]


def test_a_revised_expert_is_asked_anew():
    expert = Oracle("late", lambda context: {"k:a": 1.0} if expert.revision else {})
    expert.revision = 0
    predictor = MixturePredictor([expert], ["k"])
    assert predictor.predict(Context()) == []
    expert.revision = 1
    assert predictor.predict(Context())[0].key == "k:a"


@pytest.mark.parametrize("off", ["mix", "pool", "calibrate"])
def test_parts_can_be_turned_off(off):
    events = random_events(5)
    without, whole = fitted(mixture_of_two(**{off: False}), events), fitted(mixture_of_two(), events)
    context = contexts_of(events)[-1]
    assert without.predict(context) != whole.predict(context)
    assert 0 < sum(p.per_step[0] for p in without.predict(context)) <= 1.0 + 1e-9


def test_without_mixing_the_best_expert_speaks_alone():
    good = Oracle("good", lambda context: {"k:a": 0.9, "k:b": 0.1})
    bad = Oracle("bad", lambda context: {"k:a": 0.1, "k:b": 0.9})
    predictor = MixturePredictor([bad, good], ["k"], mix=False, calibrate=False)
    fitted(predictor, [event(number, "k:a") for number in range(5)])
    assert predictor.distribution(Context(), "k", 1).probabilities[0] == pytest.approx([0.9, 0.1], abs=1e-3)


class Staged(Oracle):
    """An oracle that is to be inferred off the loop."""

    def __init__(self, name, say):
        super().__init__(name, say)
        self.batches = []
        self.known = {}

    def begin(self, context, steps=3):
        return context

    def infer(self, requests):
        self.batches.append(len(requests))
        return [self._say(context) for context in requests]

    def finish(self, request, result):
        self.known[request.session] = result
        return []


def test_stages_are_predict_in_a_row_and_infer_each_expert_once_a_batch():
    staged = Staged("network", lambda context: {"component:item1": 0.7, "component:item2": 0.3})
    events = random_events(6)
    predictor = fitted(MixturePredictor([OnlinePredictor(), staged]), events)
    contexts = contexts_of(events)[-3:]
    requests = [predictor.begin(context) for context in contexts]
    results = predictor.infer(requests)
    assert staged.batches == [3]
    told = [predictor.finish(request, result) for request, result in zip(requests, results, strict=True)]
    assert told == [predictor.predict(context) for context in contexts]
    assert staged.known


def test_without_staged_experts_everything_is_ready_at_once():
    events = random_events(6)
    predictor = fitted(mixture_of_two(), events)
    context = contexts_of(events)[-1]
    assert predictor.begin(context, 2) == Ready(predictor.predict(context, 2))
    with pytest.raises(ValueError, match="4"):
        predictor.begin(context, 4)


def test_weighing_teaches_the_mixture_and_not_its_experts():
    experts = [fitted(OnlinePredictor(), random_events(7)), fitted(BASELINES["most_recent"](), random_events(7))]
    predictor = MixturePredictor(experts, [KIND])
    before = [expert.distribution(Context(), KIND, 1).probabilities.tolist() for expert in experts]
    for one in random_events(8):
        predictor.weigh_one(one)
    assert [expert.distribution(Context(), KIND, 1).probabilities.tolist() for expert in experts] == before
    assert predictor.mixture(KIND).blend.losses[0, :2].all()
    weights = predictor.mixture(KIND).blend.weights("nobody")[0]
    assert weights != pytest.approx(np.full(3, 1 / 3), abs=0.1)


def test_experts_of_one_name_or_none_are_refused():
    for experts in ([], [OnlinePredictor(), OnlinePredictor()]):
        with pytest.raises(ConfigurationError, match="different names"):
            MixturePredictor(experts)
    with pytest.raises(ConfigurationError, match="share"):
        mixture_of_two(share=1.0)


def test_use_is_said_by_those_experts_who_can_say():
    events = random_events(10, users=4, sessions=6)
    online = fitted(OnlinePredictor(max_contexts=2_000), events)
    predictor = fitted(mixture_of_two(), events)
    context = contexts_of(events)[-1]
    uses = {p.key: (p.p_use_if_loaded, p.p_use_soon) for p in online.predict(context)}
    for prediction in predictor.predict(context):
        assert (prediction.p_use_if_loaded, prediction.p_use_soon) == pytest.approx(uses[prediction.key], abs=1e-5)


def test_the_use_stack_learns_whom_to_believe():
    rng = np.random.default_rng(4)
    true = rng.random(4_000)
    used = rng.random(4_000) < true
    chances = np.column_stack([true, rng.random(4_000)])
    stack = UseStack(2)
    assert stack.combine(np.array([[[0.8]] * 2, [[0.2]] * 2])) == pytest.approx(np.full((2, 1), 0.5))
    assert stack.combine(np.array([[[0.8]] * 2, [[np.nan]] * 2])) == pytest.approx(np.full((2, 1), 0.8))
    stack.fit(0, chances, used)
    assert stack.weights[0] == pytest.approx([1.0, 0.0], abs=0.1)
    assert stack.weights[1] == pytest.approx([0.5, 0.5])
    stack.fit(1, np.column_stack([true, np.full(4_000, np.nan)]), used)
    assert stack.weights[1] == pytest.approx([1.0, 0.0], abs=0.1)
    assert np.isnan(stack.combine(np.full((2, 2, 1), np.nan))).all()
