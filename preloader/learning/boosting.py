"""Fits the small models that the workspace ranks and predicts by: scikit-learn fits, plain arrays come out."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from preloader.ndarray import NDArray
from preloader.prediction.trees import BoostedTrees

_ABSENT = -20.0  # the margin of a label that never came in fitting


def fit_trees(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
    *,
    classes: int = 2,
    trees: int = 120,
    leaves: int = 15,
    rate: float = 0.06,
    share: float = 0.4,
    seed: int = 0,
) -> BoostedTrees:
    """Return boosted trees that tell the labels of rows apart.

    Args:
        rows: (rows, features), finite.
        labels: (rows,): 0 to classes - 1; not all need come.
        weights: What each row counts for; 1 each by default.
        classes: How many labels there are; of two, the trees have one output, that of label 1, otherwise one each.
        trees: How many for each output.
        leaves: The most of each tree.
        rate: How much of a tree's correction is taken.
        share: Of the features, tried at each node.
        seed: Of that choice.
    """
    model = HistGradientBoostingClassifier(
        max_iter=trees,
        max_leaf_nodes=leaves,
        learning_rate=rate,
        max_features=share,
        min_samples_leaf=60,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=seed,
    ).fit(rows, labels, sample_weight=weights)
    return BoostedTrees(_arrays(model, classes), rows.shape[1])


def fit_words(
    buckets: list[NDArray[np.int64]], labels: NDArray[np.int64], width: int, strength: float = 0.1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights (width, classes) and biases (classes,) of a logistic regression on sets of buckets.

    Args:
        buckets: Of each row, the columns that hold 1.
        labels: (rows,): 0 to classes - 1.
        width: How many columns there are.
        strength: The inverse of the penalty on large weights.
    """
    ends = np.cumsum([0, *map(len, buckets)])
    columns = np.concatenate(buckets) if buckets else np.zeros(0, np.int64)
    matrix = sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(buckets), width))
    model = LogisticRegression(C=strength, max_iter=200).fit(matrix, labels)
    return model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)


def _arrays(model: Any, classes: int) -> dict[str, NDArray[Any]]:
    """Return a fitted ensemble's trees as `BoostedTrees` has them."""
    outputs = [0] if classes == 2 else [int(one) for one in model.classes_[-model.n_trees_per_iteration_ :]]
    trees = [(tree.nodes, output) for row in model._predictors for output, tree in zip(outputs, row, strict=True)]
    shape = (len(trees), max(len(nodes) for nodes, _ in trees))
    baseline = np.zeros(1) if classes == 2 else np.full(classes, _ABSENT)
    if classes > 2:
        baseline[model.classes_] = 0.0
    baseline[outputs] = np.asarray(model._baseline_prediction, np.float64).reshape(-1)
    arrays: dict[str, NDArray[Any]] = {name: np.zeros(shape, np.int64) for name in ("feature", "left", "right")}
    arrays |= {name: np.zeros(shape) for name in ("threshold", "value")}
    arrays |= {"output": np.array([output for _, output in trees], np.int64), "baseline": baseline}
    for number, (nodes, _) in enumerate(trees):
        count = len(nodes)
        leaf = nodes["is_leaf"].astype(bool)
        itself = np.arange(count)
        arrays["feature"][number, :count] = np.where(leaf, 0, nodes["feature_idx"])
        arrays["threshold"][number, :count] = np.where(leaf, 0.0, nodes["num_threshold"])
        arrays["left"][number, :count] = np.where(leaf, itself, nodes["left"])
        arrays["right"][number, :count] = np.where(leaf, itself, nodes["right"])
        arrays["value"][number, :count] = np.where(leaf, nodes["value"], 0.0)
    return arrays
