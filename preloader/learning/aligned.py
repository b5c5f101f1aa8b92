"""Tensors whose memory begins where torch's own does, so that the same numbers always sum to the same bits.

Matrix products take other paths through memory that begins elsewhere, and differ in the last bit then; where an array
of NumPy begins depends on what the process did before. Torch's own memory always begins at a multiple of 64 bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from preloader.ndarray import NDArray


def aligned(array: NDArray[Any]) -> Tensor:
    """Return a copy of an array in torch's own memory."""
    return torch.from_numpy(np.ascontiguousarray(array)).clone()
