"""Do stated probabilities come true? Reliability of what a run was told, against what then happened."""

from __future__ import annotations

from itertools import chain

import msgspec

from preloader.ports import Provider
from preloader.replay.outcomes import reuses
from preloader.replay.watch import Moment

BINS = 10
_FLOOR = 0.01  # below this there are only very many predictions of nothing


class Bin(msgspec.Struct):
    """Predictions of about the same probability: how many, their mean probability, and the share that came true."""

    count: int = 0
    stated_sum: float = 0.0
    came_true: int = 0

    @property
    def stated(self) -> float:
        """Mean stated probability."""
        return self.stated_sum / self.count

    @property
    def observed(self) -> float:
        """Share that came true."""
        return self.came_true / self.count


class Reliability:
    """Ten bins of equal width, and the calibration error over them."""

    def __init__(self) -> None:
        self._bins = [Bin() for _ in range(BINS)]

    def add(self, probability: float, came_true: bool) -> None:
        """Count one prediction; those below 1 % are left out."""
        if probability < _FLOOR:
            return
        chosen = self._bins[min(BINS - 1, int(probability * BINS))]
        chosen.count += 1
        chosen.stated_sum += probability
        chosen.came_true += came_true

    @property
    def bins(self) -> list[Bin]:
        """The bins that are not empty, by probability."""
        return [bin_ for bin_ in self._bins if bin_.count]

    @property
    def count(self) -> int:
        """How many predictions were counted."""
        return sum(bin_.count for bin_ in self._bins)

    @property
    def error(self) -> float | None:
        """Expected calibration error: the mean distance between stated and observed, weighted by count."""
        if not self.count:
            return None
        return sum(abs(bin_.stated - bin_.observed) * bin_.count for bin_ in self.bins) / self.count


class CalibrationWatcher:
    """Compares every prediction of a run with the future of its script.

    Args:
        provider: What things cost, for "used if loaded".

    Attributes:
        next_item: P(the next item is this), repeats included, where there is a next item.
        use_if_loaded: P(used before eviction or session end | loaded now), of what was not resident.
    """

    def __init__(self, provider: Provider) -> None:
        self.next_item = Reliability()
        self.use_if_loaded = Reliability()
        self._provider = provider

    def see(self, moment: Moment) -> None:
        """See `Watcher`."""
        later = moment.session.steps[moment.step + 1 :]
        next_item = next(chain.from_iterable(step.items for step in later), None)
        if next_item is not None:
            for prediction in moment.predictions:
                self.next_item.add(prediction.per_step[0], prediction.key == next_item)
        capacity = moment.budget.capacity_bytes
        future = reuses(moment.session, moment.step, self._provider, capacity)
        for prediction in moment.predictions:
            if prediction.key not in moment.residents:
                reuse = future.get(prediction.key)
                used = reuse is not None and reuse.fits(self._provider.cost(prediction.key).bytes, capacity)
                self.use_if_loaded.add(prediction.p_use_if_loaded, used)
