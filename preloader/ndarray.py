"""The type of a NumPy array of one sort of number, spelled so that it costs nothing.

`numpy.typing` has the same alias; importing it takes nearly as long as importing NumPy itself.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

Scalar = TypeVar("Scalar", bound=np.generic)

NDArray = np.ndarray[Any, np.dtype[Scalar]]
"""``NDArray[np.int64]`` is an array of any shape that holds 64-bit integers."""
