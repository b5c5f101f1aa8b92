import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.evaluation.baselines import BASELINES
from preloader.evaluation.metrics import Resamples, calibration_error, rank_against
from preloader.events import ContextTracker, Event
from preloader.prediction import OnlinePredictor
from preloader.prediction.distribution import distribution_of, from_predictions

probabilities = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5]), min_size=1, max_size=8)


@given(probabilities, st.data())
def test_a_rank_counts_the_others_that_were_given_as_much(given_, data):
    index = data.draw(st.integers(0, len(given_) - 1))
    others = [value for place, value in enumerate(given_) if place != index]
    assert rank_against(np.array(given_), index) == 1 + sum(value >= given_[index] for value in others)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=80), st.integers(0, 9))
def test_an_interval_contains_the_mean(entries, seed):
    session = np.array([number for number, _ in entries])
    value = np.array([float(right) for _, right in entries])
    low, high = Resamples(6, 2_000, seed).interval(session, value)
    assert 0 <= low <= value.mean() + 1e-9
    assert value.mean() - 1e-9 <= high <= 1


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=100), st.randoms())
def test_calibration_error_agrees_with_counting_it_out_and_ignores_order(entries, random):
    shuffled = list(entries)
    random.shuffle(shuffled)
    found = _error(entries)
    assert math.isclose(found, _error(shuffled), abs_tol=1e-9)
    assert math.isclose(found, _counted_out(sorted(entries), 15), abs_tol=1e-9)
    assert 0 <= found <= 1


def _error(entries):
    return calibration_error(np.array([stated for stated, _ in entries]), np.array([true for _, true in entries]))


def _counted_out(ordered, bins):
    """Fill one bin after the other, each up to its share, and on to the end of equal statements."""
    error, start = 0.0, 0
    for number in range(1, bins + 1):
        end = max(number * len(ordered) // bins, start)
        while start < end < len(ordered) and ordered[end][0] == ordered[end - 1][0]:
            end += 1
        error += abs(sum(stated - true for stated, true in ordered[start:end]))
        start = end
    return error / len(ordered)


PREDICTORS = {**BASELINES, "online": OnlinePredictor}

events = st.lists(
    st.builds(
        lambda user, session, keys: (user, session, keys),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["one", "two"]),
        st.lists(st.sampled_from(["k:a", "k:b", "k:c", "k:d", "j:x", "j:y"]), max_size=3),
    ),
    max_size=40,
)


@settings(max_examples=40)
@given(events, st.sampled_from(sorted(PREDICTORS)))
def test_a_distribution_is_one_and_says_what_the_predictions_say(history, name):
    predictor, contexts = PREDICTORS[name](), ContextTracker()
    for number, (user, session, keys) in enumerate(history):
        event = Event(user=user, session=session, time_s=float(number), action="a", resources=tuple(keys))
        context = contexts.observe(event)
        predictor.learn_one(event)
    if not history:
        assert predictor.predict(contexts.context("ann", "one")) == []
        return
    predictions = predictor.predict(context, 3)
    assert [p.per_step[0] for p in predictions] == sorted((p.per_step[0] for p in predictions), reverse=True)
    for kind in ("k", "j"):
        whole = distribution_of(predictor, context, kind, 3)
        listed = from_predictions(predictions, kind, 3)
        assert (whole.probabilities >= 0).all()
        assert (whole.probabilities.sum(axis=1) <= 1 + 1e-9).all()
        assert set(listed.index) <= set(whole.index)
        for key, column in whole.index.items():
            expected = whole.probabilities[:, column]
            found = listed.probabilities[:, listed.index[key]] if key in listed.index else np.zeros(3)
            np.testing.assert_array_equal(found, expected)
