"""One expert of a mixture, scored alone, though it may hear others there."""

from __future__ import annotations

from collections.abc import Sequence

from preloader.events import Context, Event, Prediction
from preloader.ports import Snapshot
from preloader.prediction.distribution import Distribution
from preloader.prediction.experts import Expert, MixturePredictor


class ExpertAlone:
    """Predicts as one expert of a mixture does, while all of them learn: it may hear another's opinion.

    Args:
        mixture: Whose experts they are. How far it believes them is not learned.
        name: The expert's name.
    """

    def __init__(self, mixture: MixturePredictor, name: str) -> None:
        self.name = name
        self._mixture = mixture
        self._expert = next(expert for expert in mixture.experts if expert.name == name)

    @property
    def experts(self) -> Sequence[Expert]:
        """All that learn, and take note of what happens, together."""
        return self._mixture.experts

    def learn_one(self, event: Event) -> None:
        """Let every expert learn; see `Predictor.learn_one`."""
        for expert in self._mixture.experts:
            expert.learn_one(event)

    def follow(self, event: Event) -> None:
        """Let those take note of ``event`` that follow without learning; see `Follows`."""
        self._mixture.follow(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return the expert's predictions."""
        return self._expert.predict(context, steps)

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what the expert says of one kind."""
        return self._expert.distribution(context, kind, steps)

    def snapshot(self) -> Snapshot:
        """Return the mixture's state."""
        return self._mixture.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the mixture's state."""
        self._mixture.restore(snapshot)
