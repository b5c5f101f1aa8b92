"""Hot swap: the better one is promoted, the worse never, and what goes bad after its promotion is rolled back."""

import logging
import math
import random

import pytest

from preloader.errors import BundleError, PreloaderError
from preloader.events import Context, Event, Prediction
from preloader.ports import Predictor, Ready, StagedPredictor
from preloader.prediction import OnlinePredictor
from preloader.prediction.distribution import Distributes
from preloader.prediction.evidence import Evidence
from preloader.prediction.hotswap import HotSwapPredictor
from preloader.prediction.shadow import Shadow, SwapSettings, SwapState
from preloader.testing import FakePredictor, FakeStagedPredictor, random_events

KEYS = [f"component:item{at}" for at in range(10)]


class Guesser(FakePredictor):
    """Gives the item that follows in the order of `KEYS` a probability, and the others the rest."""

    def __init__(self, sure, name="guesser"):
        super().__init__(self.answer)
        self.name = name
        self.sure = sure

    def answer(self, context, steps):
        latest = next(context.items("component"), KEYS[-1])
        right = KEYS[(KEYS.index(latest) + 1) % len(KEYS)]
        rest = (1 - self.sure) / (len(KEYS) - 1)
        return [Prediction(key, (self.sure if key == right else rest,) * steps, 0.5, 0.5) for key in KEYS]


def rounds(count, truth=0.8, seed=0, start=0):
    """Return events that go round `KEYS`, and stray from it by the dice."""
    rng = random.Random(seed)
    at, events = 0, []
    for number in range(count):
        at = (at + 1) % len(KEYS) if rng.random() < truth else rng.randrange(len(KEYS))
        events.append(Event(user="u", session="s", time_s=float(start + number), action="use", resources=(KEYS[at],)))
    return events


def show(swap, events):
    for event in events:
        swap.learn_one(event)
    return swap.status()


def swap_of(live, candidate, **settings):
    swap = HotSwapPredictor(live, settings=SwapSettings(**settings))
    swap.offer(candidate)
    return swap


def test_a_better_candidate_is_promoted_and_then_kept(caplog):
    swap = swap_of(Guesser(0.2, "old"), Guesser(0.8, "new"), max_items=500)
    with caplog.at_level(logging.INFO, "preloader"):
        status = show(swap, rounds(200))
    assert (status.state, status.live, status.shadow) == (SwapState.PROBATION, "new", "old")
    assert swap.name == "new"
    assert "new was promoted: log loss of new" in caplog.text
    status = show(swap, rounds(800, seed=1))
    assert (status.state, status.live, status.shadow) == (SwapState.STEADY, "new", None)
    assert status.counts == {"candidates_offered": 1, "candidates_promoted": 1, "candidates_kept": 1}
    assert status.verdict.startswith("new was kept: log loss of old")


def test_nobody_hears_a_candidate_on_trial():
    live = Guesser(0.8)
    swap = swap_of(live, Guesser(0.2))
    (event,) = rounds(1)
    swap.learn_one(event)
    context = Context("u", "s").after(event)
    assert swap.predict(context) == live.predict(context)
    assert swap.distribution(context, "component", 1).probabilities.max() == 0.8


@pytest.mark.parametrize("seed", range(10))
def test_a_worse_candidate_is_never_promoted(seed):
    swap = swap_of(Guesser(0.8, "old"), Guesser(0.2, "new"))
    status = show(swap, rounds(500, seed=seed))
    assert (status.state, status.live) == (SwapState.STEADY, "old")
    assert status.counts == {"candidates_offered": 1, "candidates_rejected": 1}
    assert status.verdict.endswith("which is worse")


def test_equal_ones_are_hardly_ever_promoted_however_often_they_are_compared():
    """Both are as good on average and differ at every item: where repeated tests promote by chance."""
    settings = SwapSettings(margin=0.0)
    promoted = 0
    for seed in range(200):
        rng = random.Random(seed)
        shadow = Shadow(Guesser(0.5), "new", SwapState.TRIAL, settings)
        for _ in range(300):
            shadow.add(*rng.sample((0.2, 1.8), 2))
            if shadow.is_better():
                promoted += 1
                break
    assert promoted <= 10  # α = 5 %


def test_a_long_good_time_does_not_hide_a_bad_one():
    shadow = Shadow(Guesser(0.5), "old", SwapState.PROBATION, SwapSettings())
    for _ in range(3_000):
        shadow.add(1.0, 1.5)
    assert not shadow.is_better()
    bad = 0
    while not shadow.is_better():
        shadow.add(1.5, 1.0)
        bad += 1
    assert bad < 500


def test_evidence_begins_at_none_and_is_cut_at_the_bound():
    evidence, same = Evidence(0.0, 2.0), Evidence(0.0, 2.0)
    assert evidence.log_e == pytest.approx(0.0)
    evidence.add(2.0)
    same.add(99.0)
    assert evidence.log_e == same.log_e == pytest.approx(math.log(1 + sum((0.05, 0.1, 0.2, 0.4, 0.8)) / 5))


def test_the_same_predictor_is_not_promoted_over_itself():
    status = show(swap_of(Guesser(0.8, "old"), Guesser(0.8, "new"), max_items=300), rounds(400))
    assert (status.state, status.live) == (SwapState.STEADY, "old")
    assert "not better by 0.02" in status.verdict


def test_one_that_is_no_better_by_the_margin_is_rejected_after_the_bound():
    swap = swap_of(Guesser(0.75, "old"), Guesser(0.78, "new"), margin=0.3, max_items=300)
    status = show(swap, rounds(300))
    assert status.state is SwapState.STEADY
    assert "not better by 0.3" in status.verdict or "worse" in status.verdict
    assert status.counts["candidates_rejected"] == 1


@pytest.mark.parametrize("good", [0, 600])
def test_one_that_is_better_at_first_and_then_worse_is_rolled_back(good, caplog):
    new = Guesser(0.8, "new")
    swap = swap_of(Guesser(0.3, "old"), new)
    assert show(swap, rounds(150)).state is SwapState.PROBATION
    assert show(swap, rounds(good, seed=2)).state is SwapState.PROBATION
    new.sure = 0.02  # the world has turned
    with caplog.at_level(logging.WARNING, "preloader"):
        status = show(swap, rounds(600, seed=1))
    assert (status.state, status.live) == (SwapState.STEADY, "old")
    assert swap.name == "old"
    assert status.counts["candidates_rolled_back"] == 1
    assert "new was rolled back to old" in caplog.text


def test_both_learn_from_every_event_before_and_after_the_swap():
    old, new = Guesser(0.2), Guesser(0.8)
    swap = swap_of(old, new)
    events = rounds(300)
    assert show(swap, events).state is SwapState.PROBATION
    assert old.learned == new.learned == events


class Raising(Guesser):
    def __init__(self, stage, *args):
        super().__init__(*args)
        self.stage = stage
        self.raising = True

    def learn_one(self, event):
        if self.raising and self.stage == "learn_one":
            raise RuntimeError("out of its depth")
        super().learn_one(event)

    def predict(self, context, steps=3):
        if self.raising and self.stage == "predict":
            raise RuntimeError("out of its depth")
        return super().predict(context, steps)


@pytest.mark.parametrize("stage", ["learn_one", "predict"])
def test_a_candidate_that_raises_is_dropped_and_the_live_one_untouched(stage, caplog):
    live, alone = Guesser(0.8, "old"), Guesser(0.8, "old")
    swap = swap_of(live, Raising(stage, 0.9, "new"))
    status = show(swap, rounds(20))
    assert (status.state, status.live) == (SwapState.STEADY, "old")
    assert status.counts["shadows_failed"] == 1
    assert "new was dropped: it failed: RuntimeError('out of its depth')" in caplog.text
    for event in rounds(20):
        alone.learn_one(event)
    assert live.learned == alone.learned


@pytest.mark.parametrize("cheat", [1.0, float("nan"), -0.5])
def test_a_candidate_that_gives_no_distribution_is_dropped(cheat):
    swap = swap_of(Guesser(0.8, "old"), FakePredictor(lambda c, s: [Prediction(k, (cheat,) * s, 1, 1) for k in KEYS]))
    assert show(swap, rounds(5)).counts["shadows_failed"] == 1


@pytest.mark.parametrize("stage", ["learn_one", "predict"])
def test_one_that_raises_on_probation_is_rolled_back_at_once(stage):
    new = Raising(stage, 0.8, "new")
    new.raising = False
    swap = swap_of(Guesser(0.2, "old"), new)
    assert show(swap, rounds(200)).state is SwapState.PROBATION
    new.raising = True
    (event,) = rounds(1)
    swap.learn_one(event)
    assert swap.predict(Context("u", "s").after(event))
    status = swap.status()
    assert (status.state, status.live) == (SwapState.STEADY, "old")
    assert status.counts["candidates_rolled_back"] == 1


def test_what_the_live_one_raises_is_raised_where_there_is_no_way_back():
    swap = HotSwapPredictor(Raising("learn_one", 0.8))
    with pytest.raises(RuntimeError, match="depth"):
        show(swap, rounds(1))
    swap.offer(Guesser(0.8, "new"))
    with pytest.raises(RuntimeError, match="depth"):
        show(swap, rounds(1))
    assert swap.status().state is SwapState.TRIAL


def test_a_mistake_of_the_caller_rolls_nothing_back():
    swap = swap_of(Guesser(0.2, "old"), Guesser(0.8, "new"))
    assert show(swap, rounds(200)).state is SwapState.PROBATION
    with pytest.raises(ValueError, match="0"):
        swap.predict(Context("u", "s"), 0)
    assert swap.status().state is SwapState.PROBATION


def test_one_shadow_at_a_time_and_it_can_be_withdrawn():
    swap = swap_of(Guesser(0.5, "old"), Guesser(0.5, "first"))
    with pytest.raises(PreloaderError, match=r"second cannot be tried while old has first beside it \(trial\)"):
        swap.offer(Guesser(0.5, "second"))
    swap.withdraw()
    swap.withdraw()
    swap.offer(Guesser(0.5), "third")
    assert swap.status().shadow == "third"
    assert swap.status().counts["candidates_offered"] == 2


def test_sampling_scores_every_so_manieth_item():
    swap = swap_of(Guesser(0.5), Guesser(0.5), every=4)
    assert show(swap, rounds(100)).items == 25


def test_only_the_given_kinds_are_scored():
    swap = HotSwapPredictor(Guesser(0.5), kinds=["tool"])
    swap.offer(Guesser(0.5))
    assert show(swap, rounds(10)).items == 0
    assert swap.status().live_loss is None


def test_everything_is_decided_by_the_events():
    def final(seed):
        swap = HotSwapPredictor(OnlinePredictor(("component",)))
        swap.offer(Guesser(0.3, "new"))
        status = show(swap, rounds(300, seed=seed))
        return status, [p.per_step for p in swap.predict(Context("u", "s"))]

    assert final(3) == final(3)


def test_its_state_is_the_live_ones():
    events = random_events(2)
    swap = HotSwapPredictor(OnlinePredictor(("component",)))
    show(swap, events)
    swap.offer(Guesser(0.5))
    other = HotSwapPredictor(OnlinePredictor(("component",)))
    other.offer(Guesser(0.5))
    other.restore(swap.snapshot())
    context = Context("user0", "session0").after(events[0])
    assert other.predict(context) == swap.predict(context) != []
    assert other.status().state is SwapState.STEADY
    with pytest.raises(BundleError):
        other.restore(FakePredictor({}).snapshot())
    assert other.predict(context) == swap.predict(context)


def test_it_is_staged_where_the_live_one_is():
    context = Context("u", "s").after(rounds(1)[0])
    swap = HotSwapPredictor(Guesser(0.8))
    assert isinstance(swap, Predictor)
    assert isinstance(swap, StagedPredictor)
    assert isinstance(swap, Distributes)
    assert swap.begin(context, 3) == Ready(swap.predict(context))
    swap.adopt(FakeStagedPredictor(Guesser(0.8).answer))
    request = swap.begin(context, 3)
    (result,) = swap.infer([request])
    assert swap.finish(request, result) == swap.predict(context)


def test_a_request_is_finished_by_the_one_that_began_it():
    context = Context("u", "s").after(rounds(1)[0])
    old, new = FakeStagedPredictor(Guesser(0.2).answer), FakeStagedPredictor(Guesser(0.8).answer)
    swap = HotSwapPredictor(old)
    requests = [swap.begin(context, 1)]
    swap.adopt(new)
    requests += [swap.begin(context, 1), swap.begin(context, 1)]
    finished = [swap.finish(*pair) for pair in zip(requests, swap.infer(requests), strict=True)]
    assert [max(p.per_step[0] for p in predictions) for predictions in finished] == [0.2, 0.8, 0.8]
    assert (old.batches, new.batches) == ([1], [2])


def test_a_failing_inference_is_raised_on_the_loop_and_rolls_back_on_probation():
    def fail(contexts):
        raise RuntimeError("no device")

    (event,) = rounds(1)
    swap = swap_of(Guesser(0.2, "old"), FakeStagedPredictor(Guesser(0.8).answer, fail))
    assert show(swap, rounds(200)).state is SwapState.PROBATION
    request = swap.begin(Context("u", "s").after(event), 1)
    (result,) = swap.infer([request])
    with pytest.raises(RuntimeError, match="no device"):
        swap.finish(request, result)
    assert swap.status().live == "old"
