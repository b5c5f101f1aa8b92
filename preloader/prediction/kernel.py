"""Which implementation does the predictor's inner work: the C extension, or its NumPy twin where that was not built.

Both have the same functions over the same arrays; `twin` documents them and is the reference.
"""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

_log = logging.getLogger(__name__)


def _best() -> tuple[ModuleType, str]:
    try:
        return importlib.import_module("preloader.prediction._kernel"), "c"
    except ImportError as error:
        _log.debug("the prediction kernel was not built, so NumPy does its work: %s", error)
        return importlib.import_module("preloader.prediction.twin"), "numpy"


active, BACKEND = _best()
