"""From an event to decisions: what happened is learned, what follows predicted, and that decided on and queued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from preloader.cache.habits import Habits
from preloader.events import ContextTracker, Decision, Event, Prediction
from preloader.inference import Inference
from preloader.outlook import Outlook
from preloader.ports import Executor
from preloader.prediction.hotswap import HotSwapPredictor, SwapStatus
from preloader.prediction.opening import LimitedExecutor
from preloader.settings import Settings
from preloader.speculation import Speculation
from preloader.telemetry import Slot, logger
from preloader.warm_start import WarmStart

DecidedListener = Callable[[Event, list[Decision]], None]


class Foresight:
    """Learns from events and has speculation act on what they lead to expect, as `Serving` sees to needs.

    Args:
        predictor: What learns and predicts.
        habits: What is known of each time of day, for the start.
        outlook: Where it is noted what each session expects.
        speculation: What decides and queues.
        executor: Where staged inference and the opening of bundles run.
        kinds: The kinds that have a provider; predictions of others are dropped.
        settings: Steps and timeouts.
        wall_clock: Returns seconds since 1970.
        decided: Called with every event and the decisions on it.

    Attributes:
        counts: Events and failed predictions; the inference's own.
    """

    def __init__(
        self,
        predictor: HotSwapPredictor,
        habits: Habits,
        outlook: Outlook,
        speculation: Speculation,
        executor: Executor,
        kinds: Sequence[str],
        settings: Settings,
        wall_clock: Callable[[], float],
        decided: DecidedListener | None,
    ) -> None:
        self._predictor = predictor
        self._outlook = outlook
        self._speculation = speculation
        self._kinds = frozenset(kinds)
        self._prefixes = tuple(f"{kind}:" for kind in kinds)
        self._decided = decided
        self._steps = settings.steps
        self._contexts = ContextTracker()
        self._counts: Counter[str] = Counter()
        self._opener = LimitedExecutor(executor, settings.bundle_timeout_s)
        self._warm_start = WarmStart(habits, speculation, self._prefixes, settings, wall_clock)
        self._inference = Inference(
            predictor,
            executor,
            steps=settings.steps,
            timeout_s=settings.inference_timeout_s,
            land=self._decide,
            gave_up=predictor.blame,
        )

    @property
    def counts(self) -> Counter[str]:
        """How often what happened, the inference's and the predictor's counts included."""
        return self._counts + self._inference.counts + self._predictor.counts

    async def adopt(self, bundle: Path | str) -> None:
        """Put a bundle's predictor in service; where it is refused, the reason is logged and counted."""
        await self._predictor.adopt_bundle(bundle, self._opener, self._steps)

    async def offer(self, bundle: Path | str) -> None:
        """Try a bundle beside the predictor in service; see `HotSwapPredictor.offer_bundle` for the errors."""
        await self._predictor.offer_bundle(bundle, self._opener, self._steps)

    def swap_status(self) -> SwapStatus:
        """Return who predicts, which bundle is on trial or probation, and how they compare."""
        return self._predictor.status()

    def begin(self) -> None:
        """Get ready what is used at this time of day."""
        self._warm_start.begin()

    async def run(self) -> None:
        """Infer what arrives, for ever: the manager's own task."""
        await self._inference.run()

    async def settled(self) -> None:
        """Wait until everything observed so far has been decided on."""
        await self._inference.settled()

    def observe(self, event: Event) -> list[Decision]:
        """Learn from an event, predict, decide and queue; see `PreloadManager.observe`."""
        self._counts["events"] += 1
        self._outlook.seen(event)
        self._warm_start.seen(event)
        context = self._contexts.observe(event)
        predictions: list[Prediction] | None = []
        try:
            self._predictor.learn_one(event)
            predictions = self._inference.ask(event, context)
        except Exception:
            self._counts["predictor_errors"] += 1
            logger.exception("the predictor failed on %s", event.action)
        return [] if predictions is None else self._decide(event, predictions)

    def end_session(self, slot: Slot) -> None:
        """Forget what a session that is over would have gone on with."""
        self._contexts.end(*slot)
        self._inference.end_session(slot)
        self._outlook.forget(slot)

    def _decide(self, event: Event, predictions: list[Prediction]) -> list[Decision]:
        """Act on what is expected after ``event``."""
        if not self._predictor.says_nothing_but(self._kinds):
            predictions = [prediction for prediction in predictions if prediction.key.startswith(self._prefixes)]
        slot = (event.user, event.session)
        self._outlook.update(slot, predictions)
        self._speculation.cancel_wrong(slot, predictions)
        decisions = self._speculation.consider(predictions, slot)
        self._speculation.pump()
        if self._decided is not None:
            try:
                self._decided(event, decisions)
            except Exception:
                logger.exception("the decided listener failed on %s", event.action)
        return decisions
