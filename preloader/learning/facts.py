"""What a manifest says of a trained model, for programs to read: the card says it to people."""

from __future__ import annotations

import msgspec

from preloader.learning.fit import Fitted
from preloader.learning.recipe import Recipe
from preloader.prediction.manifest import Facts, Source


def facts(fitted: Fitted, recipe: Recipe) -> Facts:
    """Return features, vocabulary, calibration, figures on what was held out, verification and sources."""
    return Facts(
        features=msgspec.to_builtins(recipe.features) if fitted.networks else {},
        vocabulary=sum(one.vocabulary for one in fitted.networks) or None,
        calibration={one.kind: msgspec.to_builtins(one.calibration) for one in fitted.networks},
        metrics=msgspec.to_builtins(fitted.validation),
        verification={one.kind: one.verification for one in fitted.networks},
        sources=[Source(name=recipe.data.description or recipe.data.format, licence=recipe.data.licence)],
    )
