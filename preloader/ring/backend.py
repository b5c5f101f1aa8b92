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


INTERFACE = 1
"""What the compiled ring offers to Python; one of another number was built from other sources."""


def choose() -> tuple[type[Ring], Literal["c", "python"]]:
    """Return the ring to use, and its name; warn where the compiled one should be there and is not, or is another."""
    if os.environ.get(VARIABLE) == "python":
        return _twin(), "python"
    try:
        native = importlib.import_module("preloader.ring._native")
    except ImportError as error:
        _warn(f"is missing ({error})", "install preloader where there is a C compiler")
        return _twin(), "python"
    built = getattr(native, "INTERFACE", 0)
    if built == INTERFACE:
        return native.Ring, "c"
    _warn(f"{native.__file__} has interface {built} and not {INTERFACE}", "install preloader again to build it anew")
    return _twin(), "python"


def _warn(what: str, remedy: str) -> None:
    warnings.warn(
        f"the compiled ring {what}, so its slower twin in Python serves: {remedy}, or set {VARIABLE}=python to use the "
        "twin without this warning",
        RuntimeWarning,
        stacklevel=3,
    )


def _twin() -> type[Ring]:
    from preloader.ring.twin import Ring  # here, since it is not needed beside the compiled one

    return Ring
