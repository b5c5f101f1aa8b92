"""preloader makes assistants feel instant: it predicts what is needed next and gets it ready, within a budget.

The public face is what stands here; everything else is importable by its own module path.
"""

import numpy as _numpy  # noqa: ICN001 F401 - first: imported after asyncio and msgspec it takes some 60 ms longer

from preloader.components import ComponentRegistry, FileProvider
from preloader.errors import (
    BundleError,
    ClosedError,
    ConfigurationError,
    HistoryError,
    LoadError,
    PreloaderError,
    UnknownResourceError,
)
from preloader.events import Context, Decision, Event, Need, Prediction, Preload, Tier
from preloader.manager import PreloadManager
from preloader.ports import Cost, DecisionPolicy, EvictionPolicy, Loaded, Predictor, Provider
from preloader.prediction import OnlinePredictor
from preloader.settings import Settings, load_settings
from preloader.statistics import Statistics
from preloader.sync import SyncPreloadManager

__all__ = [
    "BundleError",
    "ClosedError",
    "ComponentRegistry",
    "ConfigurationError",
    "Context",
    "Cost",
    "Decision",
    "DecisionPolicy",
    "Event",
    "EvictionPolicy",
    "FileProvider",
    "HistoryError",
    "LoadError",
    "Loaded",
    "Need",
    "OnlinePredictor",
    "Prediction",
    "Predictor",
    "Preload",
    "PreloadManager",
    "PreloaderError",
    "Provider",
    "Settings",
    "Statistics",
    "SyncPreloadManager",
    "Tier",
    "UnknownResourceError",
    "load_settings",
]
