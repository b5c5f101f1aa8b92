"""Boosted trees in NumPy: what scikit-learn's histogram boosting fitted, walked without scikit-learn.

All trees are walked at once, level by level (Nakandala et al., *A Tensor Compiler for Unified Machine Learning
Prediction Serving*, OSDI 2020). They are kept as plain arrays, so that a file of them is read without pickle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from preloader.errors import BundleError
from preloader.ndarray import NDArray

ARRAYS = ("feature", "threshold", "left", "right", "value", "output", "baseline")
"""The names under which `BoostedTrees.arrays` gives its parts."""

_MOST_DEPTH = 64


class BoostedTrees:
    """An additive ensemble of binary trees, of one output or several.

    A leaf is its own left and right child, so that a walk which has ended stays where it is.

    Args:
        arrays: ``feature``, ``threshold``, ``left``, ``right`` and ``value`` of every node, each (trees, nodes): a row
            whose feature is at most the threshold goes left. ``output``, (trees,): which output a tree adds to.
            ``baseline``, (outputs,): what each output starts with.
        features: How many columns a row has.

    Attributes:
        depth: After how many steps every walk has ended.

    Raises:
        BundleError: The arrays do not belong together, or a node points outside its tree.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]], features: int) -> None:
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise BundleError(f"boosted trees lack the array {missing[0]!r}")
        self._feature = arrays["feature"].astype(np.int64)
        self._threshold = arrays["threshold"].astype(np.float64)
        self._left = arrays["left"].astype(np.int64)
        self._right = arrays["right"].astype(np.int64)
        self._value = arrays["value"].astype(np.float64)
        self._output = arrays["output"].astype(np.int64)
        self._baseline = arrays["baseline"].astype(np.float64)
        self.features = features
        self._check()
        self.depth = self._deepest()

    def _check(self) -> None:
        shape = self._feature.shape
        nodes = (self._threshold, self._left, self._right, self._value)
        if len(shape) != 2 or 0 in shape or any(one.shape != shape for one in nodes):
            raise BundleError("the arrays of boosted trees have not one shape of (trees, nodes)")
        if self._output.shape != shape[:1] or self._baseline.ndim != 1:
            raise BundleError("boosted trees name not one output a tree")
        for name, array, end in (
            ("feature", self._feature, self.features),
            ("left", self._left, shape[1]),
            ("right", self._right, shape[1]),
            ("output", self._output, len(self._baseline)),
        ):
            if array.min() < 0 or array.max() >= end:
                raise BundleError(f"boosted trees have a {name} outside 0 to {end - 1}")

    def _deepest(self) -> int:
        """Return after how many steps every walk has ended."""
        reached = np.zeros(self._left.shape, bool)
        reached[:, 0] = True
        trees = np.arange(len(self._left))[:, None]
        for depth in range(_MOST_DEPTH):
            following = np.zeros_like(reached)
            inner = reached & (self._left != np.arange(self._left.shape[1]))
            if not inner.any():
                return depth
            for child in (self._left, self._right):
                rows, columns = np.nonzero(inner)
                following[trees[rows, 0], child[rows, columns]] = True
            reached = following
        raise BundleError(f"boosted trees are deeper than {_MOST_DEPTH} levels, or have a cycle")

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Its parts, by name, as it was made from."""
        return {
            "feature": self._feature.astype(np.int16),
            "threshold": self._threshold,
            "left": self._left.astype(np.int16),
            "right": self._right.astype(np.int16),
            "value": self._value,
            "output": self._output.astype(np.int16),
            "baseline": self._baseline,
        }

    def margins(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what each output adds up to: (rows, outputs).

        Args:
            rows: (rows, features), finite.
        """
        result = np.repeat(self._baseline[None], len(rows), axis=0)
        for start in range(0, len(rows), 512):
            result[start : start + 512] += self._walk(rows[start : start + 512])
        return result

    def _walk(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        trees, nodes = self._feature.shape
        first = np.arange(trees) * nodes  # of each tree, among all nodes
        row = (np.arange(len(rows)) * rows.shape[1])[:, None]
        values = rows.ravel()
        feature, threshold = self._feature.ravel(), self._threshold.ravel()
        left, right = (self._left + first[:, None]).ravel(), (self._right + first[:, None]).ravel()
        node = np.repeat(first[None], len(rows), axis=0)
        for _ in range(self.depth):
            goes_left = values.take(row + feature.take(node)) <= threshold.take(node)
            node = np.where(goes_left, left.take(node), right.take(node))
        leaves = self._value.ravel().take(node)
        return np.stack([leaves[:, self._output == n].sum(axis=1) for n in range(len(self._baseline))], axis=1)


def averaged(models: list[BoostedTrees]) -> BoostedTrees:
    """Return the model whose margins are the mean of those of ``models``, which have the same features and outputs."""
    parts = [model.arrays for model in models]
    nodes = max(part["feature"].shape[1] for part in parts)
    joined: dict[str, NDArray[np.generic]] = {
        name: np.concatenate([np.pad(part[name], ((0, 0), (0, nodes - part[name].shape[1]))) for part in parts])
        for name in ARRAYS[:5]
    }
    joined["value"] = joined["value"].astype(np.float64) / len(models)
    joined["output"] = np.concatenate([part["output"] for part in parts])
    joined["baseline"] = np.mean([part["baseline"].astype(np.float64) for part in parts], axis=0)
    return BoostedTrees(joined, models[0].features)
