"""Predictions off the loop: what arrives while one batch is inferred makes up the next one.

A `StagedPredictor` begins and finishes on the loop; between the two, one owned task sends what has arrived to a thread,
as one batch at a time. A session's request that still waits when the session's next one arrives is *superseded*: only
the newest is worth a thread. One that is under way is let land, so that a session whose events come faster than its
predictions still gets some.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from preloader.errors import LoadError
from preloader.events import Context, Event, Prediction
from preloader.ports import Executor, Ready, StagedPredictor
from preloader.telemetry import Slot, logger

_MOST_A_BATCH = 64
_MOST_HUNG = 4
"""So many threads may hang in `infer` before no more are sent after them: the loaders need threads, too."""

Land = Callable[[Event, list[Prediction]], object]
GaveUp = Callable[[Sequence[Any]], None]


class Inference:
    """Begins, infers and finishes predictions. All but `StagedPredictor.infer` happens on the loop.

    A batch that fails or hangs is logged and counted, and its requests land without predictions, exactly as an event
    on which ``predict`` fails.

    Args:
        predictor: What predicts.
        executor: Where `infer` runs.
        steps: How many items ahead to look.
        timeout_s: After how long a batch is given up.
        land: Called with an event and its predictions when they have come after `ask` had returned.
        gave_up: Called with the requests of a batch that was given up.

    Attributes:
        counts: Batches, requests inferred, superseded, of ended sessions, errors, timeouts.
    """

    def __init__(
        self,
        predictor: StagedPredictor,
        executor: Executor,
        *,
        steps: int,
        timeout_s: float,
        land: Land,
        gave_up: GaveUp = lambda requests: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._predictor = predictor
        self._executor = executor
        self._steps = steps
        self._timeout_s = timeout_s
        self._land = land
        self._gave_up = gave_up
        self._waiting: dict[Slot, _Request] = {}  # the oldest first; one a session
        self._flying: list[_Request] = []
        self._hung: list[_Call] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def ask(self, event: Event, context: Context) -> list[Prediction] | None:
        """Begin the prediction of what follows ``event``.

        Returns:
            The predictions where they are ready at once; ``None`` where they land later.
        """
        begun = self._predictor.begin(context, self._steps)
        slot = (event.user, event.session)
        if self._waiting.pop(slot, None) is not None:
            self.counts["inferences_superseded"] += 1
        if isinstance(begun, Ready):
            self._drop_flying(slot, "inferences_superseded")  # what lands now would be older than this
            return begun.predictions
        self._waiting[slot] = _Request(event, slot, begun)
        self._arrived.set()
        self._idle.clear()
        return None

    def end_session(self, slot: Slot) -> None:
        """Drop what waits or is under way for a session that is over."""
        if self._waiting.pop(slot, None) is not None:
            self.counts["inferences_dropped"] += 1
        self._drop_flying(slot, "inferences_dropped")

    async def settled(self) -> None:
        """Wait until everything that was asked has landed, or the inference has stopped."""
        await self._idle.wait()

    async def run(self) -> None:
        """Infer what arrives, for ever: the manager's own task."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._fly()
                self._idle.set()
        finally:
            self._waiting.clear()
            self._flying.clear()
            self._idle.set()

    async def _fly(self) -> None:
        """Send the oldest requests as one batch, and land them one by one, letting others run in between."""
        slots = list(islice(self._waiting, _MOST_A_BATCH))
        self._flying = [self._waiting.pop(slot) for slot in slots]
        results = await self._infer([request.begun for request in self._flying])
        for request, result in zip(self._flying, results, strict=True):
            if not request.dropped:
                self._finish(request, result)
                await asyncio.sleep(0)
        self._flying = []

    async def _infer(self, begun: list[Any]) -> Sequence[Any]:
        """Return the results of a batch; where it fails or hangs, a `_FAILED` for each."""
        self.counts["inference_batches"] += 1
        self.counts["inferences"] += len(begun)
        call = _Call(self._predictor, begun)
        limit = asyncio.timeout(self._timeout_s)
        try:
            self._check_hung()
            async with limit:
                return await self._executor.run(call)
        except Exception:
            if limit.expired():
                self._hung.append(call)
                self.counts["inference_timeouts"] += 1
                logger.warning("an inference of %d requests was given up after %g s", len(begun), self._timeout_s)
                self._gave_up(begun)
            else:
                self.counts["inference_errors"] += 1
                logger.exception("an inference of %d requests failed", len(begun))
            return [_FAILED] * len(begun)

    def _check_hung(self) -> None:
        self._hung = [call for call in self._hung if not call.ended]
        if len(self._hung) >= _MOST_HUNG:
            raise LoadError(f"{len(self._hung)} inferences hang: nothing is inferred until one of them ends")

    def _finish(self, request: _Request, result: Any) -> None:
        """Land a request; whatever fails in it must not stop later ones."""
        predictions: list[Prediction] = []
        try:
            if result is not _FAILED:
                predictions = self._predictor.finish(request.begun, result)
        except Exception:
            self.counts["inference_errors"] += 1
            logger.exception("the prediction after %s could not be finished", request.event.action)
        try:
            self._land(request.event, predictions)
        except Exception:
            self.counts["inference_errors"] += 1
            logger.exception("the prediction after %s could not be used", request.event.action)

    def _drop_flying(self, slot: Slot, count: str) -> None:
        for request in self._flying:
            if request.slot == slot and not request.dropped:
                request.dropped = True
                self.counts[count] += 1


_FAILED = object()


class _Request:
    """What was asked after one event."""

    __slots__ = ("begun", "dropped", "event", "slot")

    def __init__(self, event: Event, slot: Slot, begun: Any) -> None:
        self.event = event
        self.slot = slot
        self.begun = begun
        self.dropped = False


class _Call:
    """One call of `infer` in a thread, which can be seen to have ended after it was given up."""

    def __init__(self, predictor: StagedPredictor, begun: list[Any]) -> None:
        self.ended = False
        self._predictor = predictor
        self._begun = begun

    def __call__(self) -> list[Any]:
        try:
            results = self._predictor.infer(self._begun)
        finally:
            self.ended = True
        if len(results) != len(self._begun):
            raise ValueError(f"infer returned {len(results)} results for {len(self._begun)} requests")
        return results
