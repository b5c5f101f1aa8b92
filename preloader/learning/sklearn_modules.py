"""scikit-learn's classifiers as torch modules, so that they are exported and verified as networks are.

coremltools' own converter refuses current releases and gets multiclass forests wrong. Here a linear model is one
matrix, and an ensemble of trees is walked level by level, all trees at once (Nakandala et al., *A Tensor Compiler for
Unified Machine Learning Prediction Serving*, OSDI 2020). Thresholds are rounded down to float32, with which a float32
feature compares as it does with the threshold itself; in half precision it would not, so trees are exported in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from preloader.errors import ExportError
from preloader.ndarray import NDArray

OUTPUTS = ("log_probabilities",)

_LEAST = 1e-7  # a forest gives probabilities of 0, whose logarithm no exported model should have to hold


def as_module(model: Any) -> nn.Module:
    """Return a fitted classifier as a module that takes ``features`` and returns log-probabilities.

    The module takes float32 (batch, features), finite numbers, and returns float32 (batch, classes) in the order of
    the classifier's ``classes_``, within 1e-5 of ``predict_proba`` once exponentiated.

    Args:
        model: A fitted `LogisticRegression`, `RandomForestClassifier`, `ExtraTreesClassifier` or
            `HistGradientBoostingClassifier` without categorical features.

    Raises:
        ExportError: It is of another class, or has a part that has no counterpart here.
    """
    name = type(model).__name__
    make = _MODULES.get(name)
    if make is None:
        raise ExportError(f"a {name} has no module to export it with; these have: {', '.join(_MODULES)}")
    if not hasattr(model, "classes_"):
        raise ExportError(f"the {name} is not fitted, so there is nothing to export")
    if isinstance(model.classes_, list):
        raise ExportError(f"the {name} predicts {len(model.classes_)} outputs at once, and one can be exported")
    return make(model).eval()


class LinearClassifier(nn.Module):
    """A multinomial logistic regression.

    Args:
        weights: (classes, features).
        bias: (classes,).
    """

    def __init__(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        super().__init__()
        self.scores = nn.Linear(weights.shape[1], weights.shape[0])
        self.scores.weight.data = torch.from_numpy(weights.astype(np.float32))
        self.scores.bias.data = torch.from_numpy(bias.astype(np.float32))

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities (batch, classes)."""
        scores: Tensor = self.scores(features)
        return scores.log_softmax(-1)


class _Tree(NamedTuple):
    """A tree's nodes: arrays with an entry for each, except ``values`` with a row (outputs,)."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]  # of a leaf: the leaf itself
    right: NDArray[np.int64]
    values: NDArray[np.float64]


class Trees(nn.Module):
    """The sum of what many trees say.

    Args:
        trees: They, each with the same number of outputs.
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    values: Tensor

    def __init__(self, trees: Sequence[_Tree]) -> None:
        super().__init__()
        starts = np.cumsum([0, *(len(tree.feature) for tree in trees)])
        self.depth = max(map(_depth, trees))
        self._hold("roots", starts[:-1].astype(np.int64))
        self._hold("feature", np.concatenate([tree.feature for tree in trees]).astype(np.int64))
        self._hold("threshold", _rounded_down(np.concatenate([tree.threshold for tree in trees])))
        for side in ("left", "right"):
            nodes = [getattr(tree, side) + start for tree, start in zip(trees, starts[:-1], strict=True)]
            self._hold(side, np.concatenate(nodes).astype(np.int64))
        self._hold("values", np.concatenate([tree.values for tree in trees]).astype(np.float32))

    def forward(self, features: Tensor) -> Tensor:
        """Return the sums (batch, outputs)."""
        at = (features[:, :1] * 0).long() + self.roots  # (batch, trees)
        for _ in range(self.depth):
            seen = features.gather(1, _picked(self.feature, at))  # (batch, trees)
            at = torch.where(seen <= _picked(self.threshold, at), _picked(self.left, at), _picked(self.right, at))
        return nn.functional.embedding(at, self.values).sum(1)

    def _hold(self, name: str, values: NDArray[Any]) -> None:
        self.register_buffer(name, torch.from_numpy(values))


class ForestClassifier(nn.Module):
    """A forest whose trees vote with probabilities.

    Args:
        trees: They; a node's values are its classes' shares, divided by the number of trees.
    """

    def __init__(self, trees: Sequence[_Tree]) -> None:
        super().__init__()
        self.trees = Trees(trees)

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities (batch, classes); none is below that of one in ten million."""
        shares: Tensor = self.trees(features)
        return shares.clamp(min=_LEAST).log()


class BoostedClassifier(nn.Module):
    """Gradient-boosted trees that add to scores.

    Args:
        trees: They; a node's values are 0 but for the class that its tree is about.
        baseline: (classes,), the scores before any tree.
    """

    baseline: Tensor

    def __init__(self, trees: Sequence[_Tree], baseline: NDArray[np.float64]) -> None:
        super().__init__()
        self.trees = Trees(trees)
        self.register_buffer("baseline", torch.from_numpy(baseline.astype(np.float32)))

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities (batch, classes)."""
        scores: Tensor = self.trees(features) + self.baseline
        return scores.log_softmax(-1)


def _picked(table: Tensor, at: Tensor) -> Tensor:
    """Return a table's entries, as the one plain lookup that every exporter has."""
    return table.index_select(0, at.flatten()).view(at.shape)


def coefficients(model: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights (classes, features) and the bias (classes,) of a fitted logistic regression."""
    weights, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:  # one row, the second class's log-odds
        return np.vstack([np.zeros_like(weights), weights]), np.array([0.0, *bias])
    return weights, bias


def _logistic(model: Any) -> nn.Module:
    return LinearClassifier(*coefficients(model))


def _forest(model: Any) -> nn.Module:
    count = len(model.estimators_)
    return ForestClassifier([_of_forest(one.tree_, count) for one in model.estimators_])


def _of_forest(tree: Any, count: int) -> _Tree:
    is_leaf = tree.children_left < 0
    itself = np.arange(tree.node_count)
    shares = tree.value[:, 0, :] / tree.value[:, 0, :].sum(1, keepdims=True)
    return _Tree(
        feature=np.where(is_leaf, 0, tree.feature),
        threshold=np.where(is_leaf, 0.0, tree.threshold),
        left=np.where(is_leaf, itself, tree.children_left),
        right=np.where(is_leaf, itself, tree.children_right),
        values=shares / count,
    )


def _boosting(model: Any) -> nn.Module:
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise ExportError("the HistGradientBoostingClassifier has categorical features, which cannot be exported")
    classes = len(model.classes_)
    trees = []
    for grown in model._predictors:
        for number, one in enumerate(grown):  # one tree for each class, or one for the second of two
            trees.append(_of_boosting(one.nodes, number if len(grown) > 1 else 1, classes))
    baseline = np.zeros(classes)
    baseline[classes - model._baseline_prediction.size :] = model._baseline_prediction.ravel()
    return BoostedClassifier(trees, baseline)


def _of_boosting(nodes: Any, column: int, classes: int) -> _Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    itself = np.arange(len(nodes))
    values = np.zeros((len(nodes), classes))
    values[:, column] = nodes["value"]
    return _Tree(
        feature=np.where(is_leaf, 0, nodes["feature_idx"]),
        threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
        left=np.where(is_leaf, itself, nodes["left"]),
        right=np.where(is_leaf, itself, nodes["right"]),
        values=values,
    )


def _depth(tree: _Tree) -> int:
    """Return how many steps lead from the root to the deepest leaf."""
    depth, level = 0, np.array([0])
    while True:
        inner = level[tree.left[level] != level]
        if not len(inner):
            return depth
        depth, level = depth + 1, np.concatenate([tree.left[inner], tree.right[inner]])


def _rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 numbers that are not above the values."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)


_MODULES = {
    "LogisticRegression": _logistic,
    "RandomForestClassifier": _forest,
    "ExtraTreesClassifier": _forest,
    "HistGradientBoostingClassifier": _boosting,
}
