"""Which of the two rings is used: the compiled one, or its twin in Python."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from preloader.ring.twin import Ring

VARIABLE = "PRELOADER_RING"
"""The environment variable that chooses the twin on purpose, where its value is ``python``."""


def choose() -> tuple[type[Ring], Literal["c", "python"]]:
    """Return the ring to use, and its name; warn where the compiled one should be there and is not."""
    if os.environ.get(VARIABLE) == "python":
        return _twin(), "python"
    try:
        return importlib.import_module("preloader.ring._native").Ring, "c"
    except ImportError as error:
        warnings.warn(
            f"the compiled ring is missing ({error}), so its slower twin in Python serves: install preloader where "
            f"there is a C compiler, or set {VARIABLE}=python to use the twin without this warning",
            RuntimeWarning,
            stacklevel=2,
        )
        return _twin(), "python"


def _twin() -> type[Ring]:
    from preloader.ring.twin import Ring  # here, since it is not needed beside the compiled one

    return Ring
