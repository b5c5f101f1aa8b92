"""Where an array begins in memory changes nothing of what is computed from it."""

import numpy as np
import torch

from preloader.learning.aligned import aligned
from preloader.learning.parallel import single_threaded


def placed(array, offset):
    """Return a copy of an array that begins ``offset`` bytes after a multiple of 64."""
    room = np.zeros(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_products_are_the_same_bits_wherever_an_array_begins():
    generator = np.random.default_rng(0)
    array = generator.normal(size=(64, 12)).astype(np.float32)  # a shape at which kernels were seen to differ
    weights = torch.from_numpy(generator.normal(size=(3, 12)).astype(np.float32))
    with single_threaded():
        found = {
            torch.nn.functional.linear(aligned(placed(array, offset)), weights).numpy().tobytes()
            for offset in range(0, 64, 4)
        }
    assert len(found) == 1


def test_what_is_returned_is_a_copy_in_aligned_memory():
    array = placed(np.arange(12, dtype=np.int64).reshape(3, 4), 8)
    copy = aligned(array.T)
    assert copy.data_ptr() % 64 == 0
    assert copy.shape == (4, 3)
    array[...] = 0
    assert copy[3, 2] == 11
