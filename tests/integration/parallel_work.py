"""Functions that the tests of divided work run in workers; a worker imports them by name."""

import os
import signal
import time

import numpy as np

from preloader.errors import HistoryError


def digest(number: int) -> bytes:
    """Return figures that depend on rounding: sums and products of many numbers."""
    values = np.random.default_rng(number).normal(size=(64, 64))
    return (values @ values.T).sum(axis=0).tobytes()


def refuse(number: int) -> int:
    if number == 3:
        raise HistoryError("its sessions are empty")
    return number


def divide(number: int) -> float:
    return 1 / (number - 3)


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def process(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def threads(_: int) -> int:
    import threadpoolctl

    return max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=1)


def user(number: int) -> str:
    return f"user {number}"
