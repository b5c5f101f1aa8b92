"""Functions that the tests of divided work run in workers; a worker imports them by name."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from preloader.errors import HistoryError
from preloader.history import Session
from preloader.learning.outcomes import OutcomeWorld


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


def meet(_: int, *, folder: Path, wanted: int, patience_s: float = 60.0) -> int:
    """Return this process, once as many as are wanted take part: no worker does it all before another has begun."""
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + patience_s
    while len(list(folder.iterdir())) < wanted and time.monotonic() < end:
        time.sleep(0.01)
    return os.getpid()


def threads(_: int) -> int:
    import threadpoolctl

    return max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=1)


def torch_threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


def user(number: int) -> str:
    return f"user {number}"


def features(sessions: list[Session]) -> dict[str, np.ndarray]:
    """Return counterfactual labels and times, a row an event."""
    world = OutcomeWorld("component", tuple(f"component:item{number}" for number in range(12)))
    return {
        "used": np.concatenate([world.labels(session).used for session in sessions]),
        "times": np.array([event.time_s for session in sessions for event in session.events]),
    }
