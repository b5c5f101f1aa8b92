"""Prediction: the online predictor, and bundles that hold a predictor's state."""

from __future__ import annotations

from preloader.prediction.bundle import Bundle, load_bundle, save_bundle
from preloader.prediction.explain import Explanation, explain
from preloader.prediction.kernel import BACKEND
from preloader.prediction.manifest import FittedOn, Manifest
from preloader.prediction.online import OnlinePredictor

__all__ = [
    "BACKEND",
    "Bundle",
    "Explanation",
    "FittedOn",
    "Manifest",
    "OnlinePredictor",
    "explain",
    "load_bundle",
    "save_bundle",
]
