"""Writes what came of a recipe as a bundle: with its card, its plots and its facts, whoever has it trained."""

from __future__ import annotations

from pathlib import Path

from preloader.learning.card import card, plots
from preloader.learning.facts import facts
from preloader.learning.fit import Fitted
from preloader.learning.recipe import Recipe
from preloader.prediction import Manifest, save_bundle


def save_fitted(path: Path, fitted: Fitted, recipe: Recipe, command: str) -> Manifest:
    """Write a bundle, and return its manifest.

    Args:
        path: The directory; see `save_bundle`.
        fitted: What came of the recipe.
        recipe: It.
        command: What was run.

    Raises:
        BundleError: It cannot be written.
        MissingExtraError: There is a curve to be drawn, and what draws it is not installed.
    """
    return save_bundle(
        path,
        fitted.predictor.snapshot(),
        fitted_on=fitted.fitted_on,
        command=command,
        card=card(fitted, recipe, command),
        files={**fitted.files, **plots(fitted)},
        facts=facts(fitted, recipe),
    )
