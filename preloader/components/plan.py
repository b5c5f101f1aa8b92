"""When which component would be loaded: the loader's list scheduling, worked out ahead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from heapq import heappop, heappush

import msgspec

from preloader.checks import is_whole, shown
from preloader.errors import ConfigurationError
from preloader.stages import Stages, in_order


class PlannedLoad(msgspec.Struct, frozen=True):
    """One load of a plan: which component, on which worker (from 0), from when to when, in seconds."""

    name: str
    worker: int
    start_s: float
    end_s: float


class Plan(msgspec.Struct, frozen=True):
    """How components would be loaded.

    Attributes:
        workers: How many loads run at once.
        loads: All loads, in the order that they start.
        stages: The same components in stages: each in the first that comes after all that it requires.
        critical_path: The longest way along requirements, in loading order.
        critical_path_s: How long that takes: no number of workers is faster.
        total_s: How long all takes one after the other.
        makespan_s: When the last load has ended.
        conflicts: Pairs among them that cannot be resident together.
    """

    workers: int
    loads: tuple[PlannedLoad, ...]
    stages: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]
    critical_path_s: float
    total_s: float
    makespan_s: float
    conflicts: tuple[tuple[str, str], ...] = ()

    @property
    def bound_s(self) -> float:
        """No schedule ends before this: the critical path, or the total divided among the workers."""
        return max(self.critical_path_s, self.total_s / self.workers)


def make_plan(requires: Mapping[str, Collection[str]], seconds: Mapping[str, float], workers: int) -> Plan:
    """Return the plan of list scheduling with the longest remaining path first (`preloader.stages`).

    Args:
        requires: What each component requires directly, all of them keys themselves.
        seconds: How long each takes to load.
        workers: How many loads run at once.

    Raises:
        ConfigurationError: ``workers`` is not at least 1.
        CircleError: Components require each other in a circle.
    """
    if not is_whole(workers, 1):
        raise ConfigurationError(f"workers must be a whole number of at least 1, not {shown(workers)}", field="workers")
    stages = Stages.prepared(requires, seconds)
    loads = _schedule(stages, seconds, workers)
    return Plan(
        workers=workers,
        loads=tuple(loads),
        stages=stages_of(in_order(requires), requires),
        critical_path=_critical_path(requires, stages.remaining_s),
        critical_path_s=max(stages.remaining_s.values(), default=0.0),
        total_s=sum(seconds[name] for name in requires),
        makespan_s=max((load.end_s for load in loads), default=0.0),
    )


def stages_of(order: Sequence[str], requires: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], ...]:
    """Return components, given in a loadable order, by how many others must come before each in a row."""
    depth: dict[str, int] = {}
    stages: list[list[str]] = []
    for name in order:
        depth[name] = max((depth[each] + 1 for each in requires[name]), default=0)
        if depth[name] == len(stages):
            stages.append([])
        stages[depth[name]].append(name)
    return tuple(map(tuple, stages))


def _schedule(stages: Stages, seconds: Mapping[str, float], workers: int) -> list[PlannedLoad]:
    loads: list[PlannedLoad] = []
    running: list[tuple[float, int, str]] = []  # when it ends, on which worker, what
    free = list(range(workers))[::-1]
    now_s = 0.0
    while True:
        while free and (name := stages.take()) is not None:
            worker = free.pop()
            loads.append(PlannedLoad(name, worker, now_s, now_s + seconds[name]))
            heappush(running, (now_s + seconds[name], worker, name))
        if not running:
            return loads
        now_s = running[0][0]
        while running and running[0][0] <= now_s:  # all that end together, before anything new begins
            _, worker, name = heappop(running)
            free.append(worker)
            stages.done(name)


def _critical_path(requires: Mapping[str, Collection[str]], remaining_s: Mapping[str, float]) -> tuple[str, ...]:
    """Return the longest way, from what requires nothing to what nothing requires."""
    if not remaining_s:
        return ()
    dependents: dict[str, list[str]] = {name: [] for name in requires}
    for name, needed in requires.items():
        for each in needed:
            dependents[each].append(name)
    path = [max((name for name in requires if not requires[name]), key=remaining_s.__getitem__)]
    while dependents[path[-1]]:
        path.append(max(dependents[path[-1]], key=remaining_s.__getitem__))
    return tuple(path)
