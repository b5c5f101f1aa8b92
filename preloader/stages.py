"""In which order tasks that require each other start: list scheduling, the longest remaining path first.

With m workers, no worker idle while a task could start, every order ends within 2 − 1/m of the shortest possible time
(R. L. Graham, *Bounds on Multiprocessing Timing Anomalies*, SIAM J. Appl. Math. 17, 1969). Starting first what the
longest path still hangs on is the rule of *critical-path* schedulers, and is close to the optimum on usual graphs.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

_PIECE = 256  # tasks worked on in one go: some tenths of a millisecond


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


class Stages:
    """Hands out tasks as they become ready, the one with the longest remaining path first.

    Linear in tasks and requirements, but for a heap of those that are ready. It must be prepared first: whoever shares
    a thread with others does so in pieces::

        stages = Stages(requires, seconds)
        for _ in stages.prepare():
            await asyncio.sleep(0)

    Args:
        requires: What each task requires, directly; only tasks that are keys themselves.
        seconds: How long each is expected to take.

    Attributes:
        remaining_s: For each task, how long the longest path takes that begins with it, its own time included.
    """

    def __init__(self, requires: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> None:
        self._requires = requires
        self._seconds = seconds
        self._dependents: dict[str, list[str]] = {}
        self._missing: dict[str, int] = {}  # how many requirements of each are not done
        self.remaining_s: dict[str, float] = {}
        self._rank: dict[str, tuple[float, int, str]] = {}
        self._ready: list[tuple[float, int, str]] = []

    @classmethod
    def prepared(cls, requires: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> Stages:
        """Return stages that were prepared at once.

        Raises:
            CircleError: Tasks require each other in a circle.
        """
        stages = cls(requires, seconds)
        for _ in stages.prepare():
            pass
        return stages

    def prepare(self) -> Iterator[None]:
        """Work out order and ranks, and yield after every few hundred tasks.

        Raises:
            CircleError: Tasks require each other in a circle.
        """
        self._dependents = {task: [] for task in self._requires}
        for at, (task, required) in enumerate(self._requires.items(), start=1):
            self._missing[task] = len(required)
            for one in required:
                self._dependents[one].append(task)
            if at % _PIECE == 0:
                yield
        order = yield from self._in_order()
        for at, task in enumerate(reversed(order), start=1):
            after_s = max((self.remaining_s[one] for one in self._dependents[task]), default=0.0)
            self.remaining_s[task] = self._seconds[task] + after_s
            self._rank[task] = (-self.remaining_s[task], len(order) - at, task)
            if at % _PIECE == 0:
                yield
        for task in order:
            if not self._requires[task]:
                heappush(self._ready, self._rank[task])

    def take(self) -> str | None:
        """Return the most urgent task that is ready, and was not taken yet; None while there is none."""
        return heappop(self._ready)[-1] if self._ready else None

    def done(self, task: str) -> None:
        """Say that a task that was taken is done."""
        for one in self._dependents[task]:
            self._missing[one] -= 1
            if not self._missing[one]:
                heappush(self._ready, self._rank[one])

    def _in_order(self) -> Generator[None, None, list[str]]:
        """Return the tasks, each after what it requires (A. B. Kahn, Comm. ACM 5, 1962)."""
        left = dict(self._missing)
        order = [task for task, count in left.items() if not count]
        for at, task in enumerate(order, start=1):
            for one in self._dependents[task]:
                left[one] -= 1
                if not left[one]:
                    order.append(one)
            if at % _PIECE == 0:
                yield
        if len(order) < len(left):
            in_order(self._requires)  # which says what the circle is
        return order


def arrows(names: Sequence[str]) -> str:
    """Return a way as a person writes it, shortened in its middle where it is long."""
    if len(names) > 12:
        names = [*names[:6], f"… {len(names) - 11} more …", *names[-5:]]
    return " → ".join(names)
