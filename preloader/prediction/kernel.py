"""Which implementation does the predictor's inner work: the C extension, or its NumPy twin where that was not built.

Both have the same functions over the same arrays; `twin` documents them and is the reference.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from types import ModuleType

INTERFACE = 2
"""Which functions there are and what they take; an extension of another number was built from other sources."""

_log = logging.getLogger(__name__)


def _best() -> tuple[ModuleType, str]:
    try:
        native = importlib.import_module("preloader.prediction._kernel")
    except ImportError as error:
        _log.debug("the prediction kernel was not built, so NumPy does its work: %s", error)
        return _twin(), "numpy"
    built = getattr(native, "INTERFACE", 0)
    if built == INTERFACE:
        return native, "c"
    warnings.warn(
        f"the compiled prediction kernel {native.__file__} has interface {built} and not {INTERFACE}, so its slower "
        "twin in NumPy serves: install preloader again to build it anew",
        RuntimeWarning,
        stacklevel=2,
    )
    return _twin(), "numpy"


def _twin() -> ModuleType:
    return importlib.import_module("preloader.prediction.twin")


active, BACKEND = _best()
