"""A staged predictor whose stages run in a row: in replay its decisions are due at once, and there are no threads."""

from __future__ import annotations

from preloader.events import Context, Event, Prediction
from preloader.ports import Predictor, Snapshot


class Unstaged:
    """Shows of a predictor only what every predictor has, so that nobody looks for its stages.

    Args:
        inner: Who predicts.
    """

    def __init__(self, inner: Predictor) -> None:
        self.name = inner.name
        self._inner = inner

    def learn_one(self, event: Event) -> None:
        """See `Predictor.learn_one`."""
        self._inner.learn_one(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """See `Predictor.predict`."""
        return self._inner.predict(context, steps)

    def snapshot(self) -> Snapshot:
        """See `Predictor.snapshot`."""
        return self._inner.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """See `Predictor.restore`."""
        self._inner.restore(snapshot)
