"""The mixture's cumulative log loss stays within the known bound of its best expert's, whatever comes."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.prediction.blend import Blend
from preloader.prediction.distribution import Distribution
from preloader.prediction.mixture_settings import MixtureSettings
from preloader.prediction.panel import Aligner
from preloader.prediction.weights import even, shares, updated

FLOOR = math.log(1e-9)
"""The least that an expert gives to what comes, as a logarithm."""

experts = st.integers(2, 6)


@st.composite
def log_likelihoods(draw, max_items=60):
    """Draw what each expert gave to each item: smooth, at the floor, certain, or switching sides in stretches."""
    count, items = draw(experts), draw(st.integers(1, max_items))
    loss = st.one_of(st.just(0.0), st.just(FLOOR), st.floats(FLOOR, 0.0))
    rows = []
    while len(rows) < items:
        row = draw(st.lists(loss, min_size=count, max_size=count))
        rows += [row] * draw(st.integers(1, 25))
    return np.array(rows[:items])


def run(given, share, awake=None):
    """Return the mixture's log loss of each item."""
    weights, losses = even(given.shape[1]), []
    for at, row in enumerate(given):
        up = None if awake is None else awake[at]
        losses.append(-math.log(max(float(shares(weights, up) @ np.exp(row)), 1e-300)))
        weights = updated(weights, row, share, up)
        assert np.exp(weights).sum() == pytest.approx(1.0)
    return np.array(losses)


@settings(max_examples=60, deadline=None)
@given(given_to=log_likelihoods())
def test_without_sharing_it_loses_at_most_the_logarithm_of_the_experts_to_the_best(given_to):
    best = -given_to.sum(axis=0).max()
    assert run(given_to, 0.0).sum() <= best + math.log(given_to.shape[1]) + 1e-6


@settings(max_examples=60, deadline=None)
@given(given_to=log_likelihoods(), share=st.floats(1e-4, 0.5), data=st.data())
def test_with_sharing_it_loses_little_to_any_sequence_of_experts(given_to, share, data):
    items, count = given_to.shape
    switches = data.draw(st.integers(0, min(items - 1, 4)))
    cuts = (
        sorted(data.draw(st.sets(st.integers(1, items - 1), min_size=switches, max_size=switches))) if switches else []
    )
    followed = sum(-part.sum(axis=0).max() for part in np.split(given_to, cuts))
    bound = math.log(count) + switches * math.log(count / share) - (items - 1 - switches) * math.log(1 - share)
    assert run(given_to, share).sum() <= followed + bound + 1e-6


@settings(max_examples=60, deadline=None)
@given(given_to=log_likelihoods(), seed=st.integers(0, 2**32 - 1))
def test_sleepers_are_matched_over_what_they_were_awake_for(given_to, seed):
    awake = np.random.default_rng(seed).random(given_to.shape) < 0.6
    awake[:, 0] |= ~awake.any(axis=1)  # somebody must speak
    losses = run(given_to, 0.0, awake)
    for expert in range(given_to.shape[1]):
        up = awake[:, expert]
        assert losses[up].sum() <= -given_to[up, expert].sum() + math.log(given_to.shape[1]) + 1e-6


keys = st.sampled_from("abcdef")
told = st.dictionaries(keys, st.floats(0.0, 1.0), max_size=5)


def distribution_of(said):
    total = max(sum(said.values()), 1.0)
    return Distribution({key: at for at, key in enumerate(said)}, np.array([[p / total for p in said.values()]]))


def blended(items, settings):
    """Return a user's mixture's log loss of all items, and what each expert gave to each, as a logarithm."""
    blend = Blend(3, settings)
    aligner, step = Aligner(), np.array([0])
    mixture, rows = 0.0, []
    for said, came in items:
        panel = aligner.panel([distribution_of(one) for one in said], 1)
        if panel.awake is not None:
            continue
        column = panel.alignment.column(came)
        given_to = np.append(blend.say(panel, "u")[0], 1.0 - blend.say(panel, "u")[0].sum())[column]
        mixture -= math.log(given_to)
        rows.append(panel.logs[:, 0, column])
        blend.learn(panel, step, np.array([column]), "u")
    return mixture, rows


said_and_came = st.tuples(st.tuples(told, told, told), keys)
VOICES = 4  # three experts and their pool


@settings(max_examples=50, deadline=None)
@given(items=st.lists(said_and_came, min_size=1, max_size=30))
def test_the_whole_blend_keeps_the_bound_for_a_user_whatever_its_experts_say(items):
    """Experts that name other keys, name none, or give no chance to what comes; the pool is one of four."""
    mixture, rows = blended(items, MixtureSettings(horizon=1, share=0.0, calibrate=False))
    if rows:
        assert mixture <= -np.sum(rows, axis=0).max() + math.log(VOICES) + 1e-6


@settings(max_examples=50, deadline=None)
@given(parts=st.tuples(*[st.lists(said_and_came, max_size=4)] * 2), times=st.integers(1, 15))
@example(parts=([(({"a": 1.0}, {"b": 1.0}, {"b": 1.0}), "a")], [(({"b": 1.0}, {"a": 1.0}, {"b": 1.0}), "a")]), times=15)
def test_as_served_the_blend_keeps_its_bound_to_the_best_of_each_stretch_before_calibration(parts, times):
    """The bound of fixed share: for its best expert throughout, and for those of two stretches."""
    served = MixtureSettings(horizon=1, calibrate=False)
    mixture, rows = blended(parts[0] * times + parts[1] * times, served)
    if not rows:
        return
    given_to, stay = np.array(rows), -math.log(1.0 - served.share)
    whole = -given_to.sum(axis=0).max()
    assert mixture <= whole + math.log(VOICES) + (len(rows) - 1) * stay + 1e-6
    for cut in range(1, len(rows)):
        followed = sum(-part.sum(axis=0).max() for part in np.split(given_to, [cut]))
        change = math.log(VOICES / served.share)
        assert mixture <= followed + math.log(VOICES) + change + (len(rows) - 2) * stay + 1e-6


@settings(max_examples=50, deadline=None)
@given(said=st.tuples(told, told, told))
@example(said=({}, {"b": 1e-109, "c": 1.0}, {"c": 0.5}))
def test_aligned_rows_are_proper_and_keep_what_experts_say(said):
    distributions = [distribution_of(one) for one in said]
    panel = Aligner().panel(distributions, 1)
    if panel.is_silent:
        return
    rows = np.exp(panel.logs[:, 0])
    for row, one in zip(rows, distributions, strict=True):
        if one.probabilities.any():
            assert row.sum() == pytest.approx(1.0)
            for key, column in one.index.items():
                assert row[panel.alignment.column(key)] == pytest.approx(one.probabilities[0, column], abs=2e-4)
