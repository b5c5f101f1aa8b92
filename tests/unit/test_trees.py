"""Boosted trees in NumPy say what scikit-learn says, and refuse arrays that do not belong together."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from preloader.errors import BundleError
from preloader.learning.boosting import fit_trees, fit_words
from preloader.prediction.trees import BoostedTrees, averaged

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(600, 6)).astype(np.float32)


def labels(classes: int) -> np.ndarray:
    """Return labels that the rows tell."""
    return (ROWS[:, 0] + ROWS[:, 1] ** 2 > 0.5).astype(np.int64) * (classes - 1)


def test_two_classes_are_scored_as_scikit_learn_scores_them() -> None:
    ours = fit_trees(ROWS, labels(2), trees=20, leaves=8, seed=3)
    theirs = HistGradientBoostingClassifier(
        max_iter=20,
        max_leaf_nodes=8,
        learning_rate=0.06,
        max_features=0.4,
        min_samples_leaf=60,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=3,
    ).fit(ROWS, labels(2))
    assert np.allclose(ours.margins(ROWS)[:, 0], theirs.decision_function(ROWS), atol=1e-9)


@pytest.mark.parametrize("present", [(0, 4), (1, 2, 3)])
def test_labels_that_never_came_are_never_likely(present: tuple[int, ...]) -> None:
    chosen = np.array(present)[(np.abs(ROWS[:, 0]) * 2).astype(int) % len(present)]
    scores = fit_trees(ROWS, chosen, classes=5, trees=20).margins(ROWS)
    assert set(scores.argmax(axis=1).tolist()) <= set(present)
    assert (scores.argmax(axis=1) == chosen).mean() > 0.8


def test_the_average_of_models_has_the_mean_of_their_margins() -> None:
    models = [fit_trees(ROWS, labels(2), trees=10, leaves=leaves, seed=leaves) for leaves in (4, 12)]
    mean = np.mean([model.margins(ROWS) for model in models], axis=0)
    assert np.allclose(averaged(models).margins(ROWS), mean)


def stump() -> dict[str, np.ndarray]:
    """Return a tree of one split."""
    return {
        "feature": np.array([[1, 0, 0]]),
        "threshold": np.array([[0.5, 0.0, 0.0]]),
        "left": np.array([[1, 1, 2]]),
        "right": np.array([[2, 1, 2]]),
        "value": np.array([[0.0, -1.0, 2.0]]),
        "output": np.array([0]),
        "baseline": np.array([0.25]),
    }


def test_a_row_goes_left_up_to_the_threshold() -> None:
    rows = np.array([[9.0, 0.5], [9.0, 0.6]])
    assert BoostedTrees(stump(), 2).margins(rows).tolist() == [[-0.75], [2.25]]
    assert BoostedTrees(stump(), 2).margins(rows[:0]).shape == (0, 1)


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("left", np.array([[3, 1, 2]]), "left outside 0 to 2"),
        ("feature", np.array([[2, 0, 0]]), "feature outside 0 to 1"),
        ("output", np.array([1]), "output outside 0 to 0"),
        ("value", np.array([[0.0, 1.0]]), "not one shape"),
        ("left", np.array([[1, 0, 2]]), "cycle"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(name: str, array: np.ndarray, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        BoostedTrees({**stump(), name: array}, 2)


def test_words_weigh_for_the_label_that_they_come_with() -> None:
    buckets = [np.array([n % 3, 3 + n % 2]) for n in range(60)]
    weights, biases = fit_words(buckets, np.array([n % 3 for n in range(60)]), 8)
    scores = np.stack([weights[one].sum(axis=0) + biases for one in buckets])
    assert (scores.argmax(axis=1) == np.arange(60) % 3).all()
    assert weights.shape == (8, 3)
