"""A file's probability is calibrated: what is said to be read three times in ten is."""

import numpy as np
import pytest

from preloader.errors import BundleError
from preloader.workspace.learn.likelihood import Likelihood, fit_likelihood, rose
from preloader.workspace.learn.preparing import Step, offered


def sessions(count: int, generator: np.random.Generator) -> list[list[Step]]:
    """Sessions of three moments and eight files, of which one is read as often as the square of its highest score."""
    made = []
    for _ in range(count):
        scores = generator.random((3, 8))
        read = np.flatnonzero(generator.random(8) < scores.max(axis=0) ** 2)
        moments = [Step(np.arange(8), row) for row in scores]
        made.append([*moments, *(Step(np.zeros(0, np.int64), np.zeros(0), int(one), True) for one in read)])
    return made


def test_what_is_stated_comes_true_at_every_threshold() -> None:
    generator = np.random.default_rng(5)
    likelihood = fit_likelihood(sessions(400, generator))
    new = sessions(400, generator)
    for threshold in (0.2, 0.5, 0.8):
        found = [offered(steps, threshold) for steps in new]
        stated = likelihood.of(np.concatenate([scores for scores, _ in found]))
        came = np.concatenate([read for _, read in found])
        for low in np.arange(0.0, 1.0, 0.2):
            among = (stated >= low) & (stated < low + 0.2)
            if among.sum() > 200:
                assert stated[among].mean() == pytest.approx(came[among].mean(), abs=0.08)


def test_only_a_score_above_all_earlier_ones_of_its_file_counts() -> None:
    one = np.array([4])
    moments = [Step(one, np.array([score])) for score in (0.3, 0.2, 0.5)]
    scores, came = rose([*moments, Step(one, np.array([0.1]), 4, True), Step(one, np.array([0.9]))])
    assert scores.tolist() == [0.3, 0.5, 0.9]
    assert came.tolist() == [True, True, False]


def test_a_curve_never_falls_and_is_level_at_its_ends() -> None:
    likelihood = fit_likelihood(sessions(50, np.random.default_rng(1)))
    stated = likelihood.of(np.linspace(-1, 2, 200))
    assert (np.diff(stated) >= 0).all()
    assert 0 <= stated[0] <= stated[-1] <= 1
    assert fit_likelihood([]).of(np.array([0.1])).tolist() == [0.5]


@pytest.mark.parametrize(
    ("scores", "probabilities"),
    [((), ()), ((0.1,), (0.1, 0.2)), ((0.2, 0.1), (0.1, 0.2)), ((0.1, 0.2), (0.2, 0.1)), ((0.1,), (1.5,))],
)
def test_a_damaged_curve_is_refused(scores: tuple[float, ...], probabilities: tuple[float, ...]) -> None:
    with pytest.raises(BundleError, match="curve of likelihoods"):
        Likelihood(scores, probabilities)
