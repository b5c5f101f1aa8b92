import math

import numpy as np
import pytest

from preloader.evaluation.metrics import (
    LOSS_FLOOR,
    Resamples,
    accuracy,
    calibration_error,
    log_loss,
    mean_reciprocal_rank,
    measure,
    rank_against,
)
from preloader.evaluation.tally import Tally
from preloader.prediction.distribution import Distribution


def told(**per_key):
    """A distribution for one step: told(a=0.5, b=0.2)."""
    index = {f"k:{name}": column for column, name in enumerate(per_key)}
    return Distribution(index, np.array([list(per_key.values())]))


def test_ranking_figures_by_hand():
    rank = np.array([1, 2, 4, 6, math.inf])
    assert accuracy(rank, 1) == 1 / 5
    assert accuracy(rank, 3) == 2 / 5
    assert accuracy(rank, 5) == 3 / 5
    assert mean_reciprocal_rank(rank) == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 6) / 5)


def test_ties_go_against_the_predictor():
    assert rank_against(np.array([0.4, 0.4, 0.1, 0.1]), 0) == 2
    assert rank_against(np.array([0.4, 0.4, 0.1, 0.1]), 2) == 4
    assert rank_against(np.array([0.5, 0.4]), 0) == 1


def test_log_loss_is_natural_and_floored():
    assert log_loss(np.array([0.5, 0.25])) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert log_loss(np.array([0.0])) == pytest.approx(-math.log(LOSS_FLOOR))


def test_calibration_error_of_two_bins_by_hand():
    stated = np.array([0.2, 0.4, 0.6, 0.8])
    came_true = np.array([False, False, True, True])
    # low bin: stated .3 on average, came true 0; high bin: .7 and 1
    assert calibration_error(stated, came_true, bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.3)
    # one bin: .5 against .5
    assert calibration_error(stated, came_true, bins=1) == pytest.approx(0.0)


def test_calibration_error_does_not_depend_on_the_order_of_equal_statements():
    stated = np.array([0.5] * 30)
    came_true = np.array([True] * 15 + [False] * 15)
    assert calibration_error(stated, came_true) == pytest.approx(0.0)


def test_calibration_error_of_nothing_is_none():
    assert calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_a_tally_scores_what_was_told():
    tally = Tally()
    met = {"k:a", "k:b", "k:c"}
    tally.add(0, told(a=0.6, b=0.3, c=0.1), 0, "k:b", met)
    tally.add(0, told(a=0.6, b=0.3, c=0.1), 0, "k:a", met)
    tally.add(1, told(a=0.6), 0, "k:c", met)  # met, but left out: behind everything
    tally.add(1, told(a=0.6), 0, "k:new", met)  # never met
    scores = tally.scores()
    assert scores.session.tolist() == [0, 0, 1, 1]
    assert scores.rank.tolist() == [2, 1, 3, math.inf]
    assert scores.probability.tolist() == [0.3, 0.6, 0, 0]
    assert scores.confidence.tolist() == [0.6] * 4
    assert scores.correct.tolist() == [False, True, False, False]
    assert scores.decision_probability.tolist() == [0.6, 0.3, 0.6, 0.3, 0.6, 0.6]
    assert scores.decision_correct.tolist() == [False, True, True, False, False, False]


def test_an_item_that_cannot_be_named_is_never_right():
    tally = Tally()
    tally.add(0, told(a=0.9), 0, None, {"k:a"})
    figures = measure(tally.scores())
    assert figures.top5 == 0
    assert figures.mrr == 0
    assert figures.log_loss == pytest.approx(-math.log(LOSS_FLOOR))
    assert figures.ece == pytest.approx(0.9)


def test_nothing_told_is_stated_with_no_confidence():
    tally = Tally()
    tally.add(0, Distribution({}, np.zeros((1, 0))), 0, "k:a", {"k:a"})
    figures = measure(tally.scores())
    assert (figures.n, figures.mrr, figures.ece, figures.ece_decisions) == (1, 1.0, 0.0, None)


def test_without_items_there_are_no_figures():
    figures = measure(Tally().scores())
    assert figures.n == 0
    assert figures.top1 is None


def test_the_excluded_key_hands_its_probability_to_the_others_at_the_next_step_only():
    before = Distribution({"k:a": 0, "k:b": 1, "k:c": 2}, np.array([[0.5, 0.3, 0.1], [0.5, 0.3, 0.1]]))
    after = before.without_next("k:a")
    assert after.probabilities[0].tolist() == pytest.approx([0, 0.6, 0.2])
    assert after.probabilities[1].tolist() == [0.5, 0.3, 0.1]
    assert before.probabilities[0, 0] == 0.5
    assert before.without_next("k:unknown") is before
    assert before.without_next(None) is before


def test_excluding_a_certain_key_leaves_nothing():
    assert told(a=1.0, b=0.0).without_next("k:a").probabilities.tolist() == [[0, 0]]


def test_intervals_are_reproducible_and_narrow_with_sessions():
    generator = np.random.default_rng(5)

    def width(sessions):
        session = np.repeat(np.arange(sessions), 10)
        interval = Resamples(sessions, seed=3).interval(session, generator.random(len(session)))
        assert interval is not None
        return interval[1] - interval[0]

    assert width(1_000) < width(10)
    session, value = np.array([0, 0, 1, 2]), np.array([1.0, 0.0, 1.0, 0.0])
    assert Resamples(3, seed=1).interval(session, value) == Resamples(3, seed=1).interval(session, value)
    assert Resamples(3, seed=1).interval(session, value) != Resamples(3, 50, seed=2).interval(session, value)


def test_an_interval_resamples_sessions_rather_than_items():
    # one session all right, one all wrong: a resample of two sessions is all right, half, or all wrong
    session = np.repeat([0, 1], 500)
    low, high = Resamples(2).interval(session, (session == 0).astype(float))
    assert (low, high) == (0.0, 1.0)


def test_an_interval_of_nothing_is_none():
    assert Resamples(2).interval(np.zeros(0, dtype=np.int64), np.zeros(0)) is None
