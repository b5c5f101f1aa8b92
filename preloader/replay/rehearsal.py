"""What a predictor says is worked out once for a script, and repeated in every further run over it.

Two predictors that were shown the same events in the same order predict the same: the port promises it. All runs of a
study observe the same events in the same order, whatever they load, so only the first needs the real predictor.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from preloader.errors import BundleError
from preloader.events import Context, Event, Prediction
from preloader.ports import Predictor, Snapshot

_MOST_BYTES = 400_000_000


class Rehearsal:
    """Hands out predictors for runs over one script: the first is real and written down, the others repeat it.

    Args:
        make: Returns a new predictor, always in the same state.
        events: How many events the script has.
        most_bytes: How much may be written down; with more to say every predictor is real.
    """

    def __init__(self, make: Callable[[], Predictor], events: int, most_bytes: int = _MOST_BYTES) -> None:
        self._make = make
        self._events = events
        self._most_bytes = most_bytes
        self._first: _Recorded | None = None

    def predictor(self) -> Predictor:
        """Return a predictor for the next run."""
        if self._first is not None and self._first.complete(self._events):
            return _Repeated(self._first)
        self._first = _Recorded(self._make(), self._most_bytes)
        return self._first


class _Recorded:
    """A real predictor whose predictions are written down, as long as there is one for each event and room for all."""

    def __init__(self, inner: Predictor, most_bytes: int) -> None:
        self.name = inner.name
        self.said: list[bytes] = []
        self._inner = inner
        self._learned = 0
        self._left_bytes = most_bytes
        self._encode = msgspec.msgpack.Encoder().encode

    def complete(self, events: int) -> bool:
        """Return whether a prediction for each of so many events was written down."""
        return self._learned == len(self.said) == events and self._left_bytes >= 0

    def learn_one(self, event: Event) -> None:
        self._learned += 1
        self._inner.learn_one(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        predictions = self._inner.predict(context, steps)
        if self._left_bytes >= 0:
            said = self._encode(predictions)
            self._left_bytes -= len(said)
            self.said.append(said)
            if self._left_bytes < 0:
                self.said.clear()
        return predictions

    def snapshot(self) -> Snapshot:
        return self._inner.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        self._inner.restore(snapshot)


class _Repeated:
    """Repeats, event by event, what a predictor said in an earlier run."""

    def __init__(self, recorded: _Recorded) -> None:
        self.name = recorded.name
        self._recorded = recorded
        self._learned = 0
        self._decode = msgspec.msgpack.Decoder(list[Prediction]).decode

    def learn_one(self, event: Event) -> None:
        self._learned += 1

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        return self._decode(self._recorded.said[self._learned - 1])

    def snapshot(self) -> Snapshot:
        return self._recorded.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        raise BundleError("a repeated predictor cannot be restored: it has no state of its own")
