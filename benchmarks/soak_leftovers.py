"""What a run has left behind in its process: tasks, threads, descriptors and processes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import psutil

_ENDS_WITHIN_S = 15.0  # an idle thread of an executor ends after ten


class Held(msgspec.Struct, frozen=True):
    """What a process holds at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: Counter[str]
    children: frozenset[int]

    @classmethod
    def now(cls) -> Held:
        """Look."""
        children = psutil.Process().children(recursive=True)
        return cls(frozenset(threading.enumerate()), _descriptors(), frozenset(child.pid for child in children))

    def left(self) -> list[str]:
        """Return in words what is held that was not then, once it had time to end."""
        end_s = time.monotonic() + _ENDS_WITHIN_S
        while (found := self._more()) and time.monotonic() < end_s:
            time.sleep(0.05)
        return found

    def _more(self) -> list[str]:
        now = Held.now()
        threads = [f"a thread: {one.name}" for one in now.threads - self.threads]
        descriptors = [f"{n} descriptors of {what}" for what, n in (now.descriptors - self.descriptors).items()]
        return [*threads, *descriptors, *(f"a process: {pid}" for pid in now.children - self.children)]


def _descriptors() -> Counter[str]:
    """Return what is open, by what it leads to; only how many where the system does not say."""
    directory = Path("/proc/self/fd")
    if not directory.is_dir():
        return Counter({"anything": psutil.Process().num_fds()}) if hasattr(psutil.Process, "num_fds") else Counter()
    found: Counter[str] = Counter()
    for one in os.listdir(directory):  # noqa: PTH208  # they come and go
        try:
            found[str((directory / one).readlink()).partition(":[")[0]] += 1
        except OSError:
            continue
    return found
