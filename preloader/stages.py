"""In which order tasks that require each other start: list scheduling, the longest remaining path first.

With m workers, no worker idle while a task could start, every order ends within 2 − 1/m of the shortest possible time
(R. L. Graham, *Bounds on Multiprocessing Timing Anomalies*, SIAM J. Appl. Math. 17, 1969). Starting first what the
longest path still hangs on is the rule of *critical-path* schedulers, and is close to the optimum on usual graphs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush


class CircleError(ValueError):
    """Tasks require each other in a circle.

    Attributes:
        circle: Its tasks, each requiring the next; the last is the first again.
    """

    def __init__(self, circle: Sequence[str]) -> None:
        super().__init__(f"they require each other in a circle: {arrows(circle)}")
        self.circle = list(circle)


def in_order(requires: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return tasks, each after what it requires; the same order in every run.

    Raises:
        CircleError: There is no such order.
    """
    try:
        return tuple(TopologicalSorter(requires).static_order())
    except CycleError as error:
        raise CircleError(error.args[1][::-1]) from None  # graphlib lists what is required first


def remaining_paths(
    order: Sequence[str], requires: Mapping[str, Collection[str]], seconds: Mapping[str, float]
) -> dict[str, float]:
    """Return for each task how long the longest path takes that begins with it, its own time included.

    Args:
        order: The tasks, each after what it requires.
        requires: What each requires, directly.
        seconds: How long each takes.
    """
    remaining_s = dict.fromkeys(order, 0.0)  # of what comes after each, until it is its turn
    for task in reversed(order):
        remaining_s[task] += seconds[task]
        for required in requires[task]:
            remaining_s[required] = max(remaining_s[required], remaining_s[task])
    return remaining_s


class Stages:
    """Hands out tasks as they become ready, the one with the longest remaining path first.

    Linear in tasks and requirements, but for a heap of those that are ready.

    Args:
        requires: What each task requires, directly; only tasks that are keys themselves.
        seconds: How long each is expected to take.

    Attributes:
        remaining_s: For each task, how long the longest path takes that begins with it.

    Raises:
        CircleError: Tasks require each other in a circle.
    """

    def __init__(self, requires: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> None:
        order = in_order(requires)
        self.remaining_s = remaining_paths(order, requires, seconds)
        self._rank = {task: (-self.remaining_s[task], at, task) for at, task in enumerate(order)}
        self._sorter = TopologicalSorter(requires)
        self._sorter.prepare()
        self._ready: list[tuple[float, int, str]] = []
        self._push(self._sorter.get_ready())

    def take(self) -> str | None:
        """Return the most urgent task that is ready, and was not taken yet; None while there is none."""
        return heappop(self._ready)[-1] if self._ready else None

    def done(self, task: str) -> None:
        """Say that a task that was taken is done."""
        self._sorter.done(task)
        self._push(self._sorter.get_ready())

    def _push(self, tasks: Iterable[str]) -> None:
        for task in tasks:
            heappush(self._ready, self._rank[task])


def arrows(names: Sequence[str]) -> str:
    """Return a way as a person writes it, shortened in its middle where it is long."""
    if len(names) > 12:
        names = [*names[:6], f"… {len(names) - 11} more …", *names[-5:]]
    return " → ".join(names)
