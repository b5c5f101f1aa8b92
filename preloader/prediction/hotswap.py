"""A predictor that can be replaced while it serves: by one that has proved better, and back if it then proves worse.

::

    steady ──offer──▶ trial ──better──▶ probation ──enough items──▶ steady
      ▲                 │ worse, no better, failed    │ worse, failed
      └─────────────────┴─────────────────────────────┘ (rolled back)

On *trial* the candidate is a shadow: it learns from every event and is scored on every item that comes, but nobody
hears it. Once promoted, the old predictor is the shadow, and the same test decides whether to go back to it.

A shadow that has stages is inferred in the same thread as the live predictor, after it, and both are scored on what
they said in time: scoring runs no network. Items of which one of them said nothing are not scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence, Set
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from preloader.errors import BundleError, PreloaderError
from preloader.events import Context, Event, Prediction
from preloader.ports import Executor, Predictor, Ready, Snapshot, StagedPredictor
from preloader.prediction.contest import Items, losses
from preloader.prediction.distribution import Distribution, distribution_of
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.opening import open_with_digest
from preloader.prediction.shadow import Shadow, SwapSettings, SwapState
from preloader.telemetry import logger

T = TypeVar("T")


class SwapStatus(msgspec.Struct, frozen=True):
    """A snapshot of a `HotSwapPredictor`.

    Attributes:
        state: Whether there is a shadow, and which.
        live: Who predicts.
        shadow: The candidate on trial, or who predicted before; ``None`` where there is none.
        items: How many items were scored since the shadow became one.
        live_loss: Mean log loss of the live one over them, in nats; ``None`` before the first.
        shadow_loss: That of the shadow.
        verdict: How the latest trial or probation ended, in words.
        counts: Candidates offered, promoted, rejected, kept and rolled back, shadows that failed, bundles refused; and
            rows of the live mixture's experts that were not heard, since they held what is no probability.
    """

    state: SwapState
    live: str
    shadow: str | None
    items: int
    live_loss: float | None
    shadow_loss: float | None
    verdict: str
    counts: dict[str, int]


class HotSwapPredictor:
    """Predicts as its live predictor does, and swaps that for a better one; staged where the live one is.

    Deterministic: all depends on the events, and on when among them candidates are offered. The state that is saved is
    the live predictor's; what is on trial is offered anew after a restart.

    Args:
        live: Who predicts at first.
        kinds: The kinds to score; every kind if not given.
        settings: When to swap.

    Attributes:
        name: The live predictor's.
        of_bundle: The digest of the bundle that it came from, by `adopt_bundle` or `offer_bundle`; empty without one.
    """

    def __init__(
        self, live: Predictor, *, kinds: Collection[str] | None = None, settings: SwapSettings | None = None
    ) -> None:
        self.settings = settings or SwapSettings()
        self._counts: Counter[str] = Counter()
        self._kinds = kinds
        self._items = Items(kinds, self.settings.every)
        self._verdict = ""
        self._shadow: Shadow | None = None
        self.adopt(live)

    @property
    def counts(self) -> Counter[str]:
        """See `SwapStatus`."""
        unsound = getattr(self._live, "unsound", None)
        return self._counts + Counter(rows_unsound=unsound.total() if isinstance(unsound, Counter) else 0)

    def adopt(self, live: Predictor, label: str = "", *, of_bundle: str = "") -> None:
        """Make ``live`` the live predictor at once, untried; a shadow is let go."""
        self._seat(live, label or live.name, of_bundle)
        self._shadow = None

    def offer(self, candidate: Predictor, label: str = "", *, of_bundle: str = "") -> None:
        """Put a candidate on trial.

        Args:
            candidate: Who may replace the live predictor.
            label: What to call it in the log and in `status`.
            of_bundle: The digest of the bundle that it came from, if it did.

        Raises:
            PreloaderError: There is a shadow already.
        """
        if self._shadow is not None:
            raise PreloaderError(
                f"{label or candidate.name} cannot be tried while {self._label} has {self._shadow.label} beside it "
                f"({self.status().state}): wait for the verdict, or withdraw that one"
            )
        self._counts["candidates_offered"] += 1
        _keep_off_loop(candidate)
        self._shadow = Shadow(candidate, label or candidate.name, SwapState.TRIAL, self.settings, of_bundle)

    async def adopt_bundle(self, path: Path | str, executor: Executor, steps: int = 3) -> bool:
        """Load a bundle in a thread, and make its predictor the live one at once.

        Args:
            path: The bundle.
            executor: Where it is loaded.
            steps: How many items ahead it will be asked for.

        Returns:
            Whether it is any good; if not, the live predictor stays, and the reason is logged and counted.
        """
        try:
            predictor, digest = await self._open(path, executor, steps)
        except BundleError as error:
            logger.warning("the %s predictor goes on alone: %s", self._label, error)
            return False
        self.adopt(predictor, str(path), of_bundle=digest)
        return True

    async def offer_bundle(self, path: Path | str, executor: Executor, steps: int = 3) -> None:
        """Load a bundle in a thread, beside the live predictor, and put it on trial.

        Args:
            path: The bundle.
            executor: Where it is loaded.
            steps: How many items ahead it will be asked for.

        Raises:
            BundleError: It is missing, damaged, tampered with, of another version, or of no use here; it is counted.
            PreloaderError: There is a shadow already.
        """
        predictor, digest = await self._open(path, executor, steps)
        self.offer(predictor, str(path), of_bundle=digest)

    def withdraw(self) -> None:
        """Let the shadow go: the candidate, or, on probation, the way back."""
        if self._shadow is not None:
            self._end(self._shadow, f"{self._shadow.label} was withdrawn")

    def status(self) -> SwapStatus:
        """Return who predicts, who is tried, and how they compare."""
        shadow = self._shadow
        items = shadow.items if shadow else 0
        return SwapStatus(
            state=shadow.state if shadow else SwapState.STEADY,
            live=self._label,
            shadow=shadow.label if shadow else None,
            items=items,
            live_loss=shadow.live_loss / items if shadow and items else None,
            shadow_loss=shadow.loss / items if shadow and items else None,
            verdict=self._verdict,
            counts=dict(self.counts),
        )

    def learn_one(self, event: Event) -> None:
        """Score both predictors on the event's items, let both learn from it, and judge; see `Predictor.learn_one`."""
        if self._shadow is not None:
            self._score(self._shadow, event)
        self._items.observe(event)
        shadow = self._shadow
        if shadow is None:  # mostly
            self._live.learn_one(event)
            return
        shadow_error = _failure(shadow.predictor.learn_one, event)
        live_error = _failure(self._live.learn_one, event)
        if shadow_error is not None:
            self._failed(shadow, f"it failed: {shadow_error!r}")
        elif live_error is not None and shadow.state is SwapState.PROBATION:
            self._roll_back(shadow, f"it failed: {live_error!r}")
            return
        if live_error is not None:
            raise live_error
        if self._shadow is not None:
            self._judge(self._shadow)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return the live predictor's predictions; one that fails on probation is rolled back."""
        return self._by_live(lambda live: live.predict(context, steps))

    def says_nothing_but(self, kinds: Set[str]) -> bool:
        """Return whether all that is predicted at present is known to be of these kinds, without a look at it."""
        return isinstance(self._live, OnlinePredictor) and self._live.says_nothing_but(kinds)

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what the live predictor says of one kind."""
        return distribution_of(self._live, context, kind, steps)

    def begin(self, context: Context, steps: int = 3) -> Any:
        """See `StagedPredictor.begin`; `Ready` at once where neither the live predictor nor a shadow has stages."""
        if self._shadow is None and self._staged is None:  # mostly
            return Ready(self._live.predict(context, steps))
        begun = self._by_live(lambda live: _begin(live, self._staged if live is self._live else None, context, steps))
        beside = self._begin_shadow(context, steps)
        if beside is None:
            return begun.begun if begun.predictor is None else begun
        begun.beside = beside
        return begun

    def infer(self, requests: Sequence[_Request]) -> list[Any]:
        """See `StagedPredictor.infer`; each request by the predictors that began it, the live ones first."""
        results = _inferred(requests)
        for request in requests:
            request.is_answered = True  # for `blame`: whatever hangs from here on is a shadow
        beside = iter(_inferred([request.beside for request in requests if request.beside]))
        return [
            (result, next(beside) if request.beside else None)
            for request, result in zip(requests, results, strict=True)
        ]

    def finish(self, request: _Request, result: tuple[Any, Any]) -> list[Prediction]:
        """See `StagedPredictor.finish`; raises what the live predictor's `infer` raised for this request."""
        answer, said_beside = result
        if request.beside is not None:
            self._finish_shadow(request.beside, said_beside)
        try:
            return request.finish(answer)
        except Exception as error:
            shadow = self._shadow
            if shadow is not None and shadow.state is SwapState.PROBATION and request.predictor is self._live:
                self._roll_back(shadow, f"it failed: {error!r}")
            raise

    def blame(self, requests: Sequence[_Request]) -> None:
        """Say that `infer` did not come back with these.

        A shadow that hangs is dropped; a live predictor that hangs on probation is rolled back.
        """
        shadow = self._shadow
        if shadow is None:
            return
        if all(request.is_answered for request in requests):
            if any(request.beside and request.beside.predictor is shadow.predictor for request in requests):
                self._failed(shadow, "its inference hangs")
        elif shadow.state is SwapState.PROBATION and any(one.predictor is self._live for one in requests):
            self._roll_back(shadow, "its inference hangs")

    def snapshot(self) -> Snapshot:
        """Return the live predictor's state."""
        return self._live.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the live predictor's state, and let a shadow go; see `Predictor.restore`."""
        self._live.restore(snapshot)
        self._shadow = None

    async def _open(self, path: Path | str, executor: Executor, steps: int) -> tuple[Predictor, str]:
        try:
            return await executor.run(open_with_digest, path, self._kinds, steps)
        except BundleError:
            self._counts["bundles_refused"] += 1
            raise

    def _seat(self, live: Predictor, label: str, of_bundle: str) -> None:
        self._live = live
        self.of_bundle = of_bundle
        self._label = label
        self._staged = live if isinstance(live, StagedPredictor) else None
        _keep_off_loop(live)
        self.name = live.name

    def _by_live(self, call: Callable[[Predictor], T]) -> T:
        """Return what the live predictor answers; where it fails on probation and the old one does not, go back."""
        try:
            return call(self._live)
        except Exception as error:
            shadow = self._shadow
            if shadow is None or shadow.state is not SwapState.PROBATION:
                raise
            answer = call(shadow.predictor)
            self._roll_back(shadow, f"it failed: {error!r}")
            return answer

    def _begin_shadow(self, context: Context, steps: int) -> _Request | None:
        """Begin what a shadow with stages is to be scored by; ``None`` where there is nothing to infer."""
        shadow = self._shadow
        if shadow is None or not isinstance(shadow.predictor, StagedPredictor) or not hasattr(shadow.predictor, "said"):
            return None
        try:
            begun = shadow.predictor.begin(context, steps)
        except Exception as error:
            self._failed(shadow, f"it failed: {error!r}")
            return None
        return None if isinstance(begun, Ready) else _Request(shadow.predictor, begun)

    def _finish_shadow(self, request: _Request, answer: Any) -> None:
        try:
            request.keep(answer)
        except Exception as error:
            shadow = self._shadow
            if shadow is not None and shadow.predictor is request.predictor:
                self._failed(shadow, f"it failed: {error!r}")

    def _score(self, shadow: Shadow, event: Event) -> None:
        items = self._items.of(event)
        if not items:
            return
        floor = self.settings.floor
        try:
            shadow_losses = list(losses(shadow.predictor, items, floor))
        except Exception as error:
            self._failed(shadow, f"it failed: {error!r}")
            return
        try:
            live_losses = list(losses(self._live, items, floor))
        except Exception as error:
            if shadow.state is SwapState.PROBATION:
                self._roll_back(shadow, f"it failed: {error!r}")
            return  # on trial: a live predictor that fails is the manager's to report, and no merit of the candidate
        for live_loss, shadow_loss in zip(live_losses, shadow_losses, strict=True):
            if live_loss is not None and shadow_loss is not None:
                shadow.add(live_loss, shadow_loss)

    def _judge(self, shadow: Shadow) -> None:
        said = shadow.compared(self._label)
        if shadow.state is SwapState.TRIAL:
            if shadow.is_better():
                self._promote(shadow, said)
            elif shadow.is_worse():
                self._reject(shadow, f"{said}, which is worse")
            elif shadow.items >= self.settings.max_items:
                self._reject(shadow, f"{said}, which is not better by {self.settings.margin:g}")
        elif shadow.is_better():
            self._roll_back(shadow, f"{said}, which is better")
        elif shadow.items >= self.settings.max_items:
            self._counts["candidates_kept"] += 1
            self._end(shadow, f"{self._label} was kept: {said}")

    def _promote(self, shadow: Shadow, said: str) -> None:
        self._counts["candidates_promoted"] += 1
        way_back = Shadow(self._live, self._label, SwapState.PROBATION, self.settings, self.of_bundle)
        self._seat(shadow.predictor, shadow.label, shadow.of_bundle)
        self._end(shadow, f"{shadow.label} was promoted: {said}, which is better")
        self._shadow = way_back

    def _reject(self, shadow: Shadow, reason: str) -> None:
        self._counts["candidates_rejected"] += 1
        self._end(shadow, f"{shadow.label} was rejected: {reason}")

    def _roll_back(self, shadow: Shadow, reason: str) -> None:
        self._counts["candidates_rolled_back"] += 1
        failed = self._label
        self._seat(shadow.predictor, shadow.label, shadow.of_bundle)
        self._end(shadow, f"{failed} was rolled back to {shadow.label}: {reason}", logger.warning)

    def _failed(self, shadow: Shadow, reason: str) -> None:
        """Drop a shadow that raises or hangs; the live one is untouched."""
        self._counts["shadows_failed"] += 1
        self._end(shadow, f"{shadow.label} was dropped: {reason}", logger.warning)

    def _end(self, shadow: Shadow, verdict: str, log: Callable[..., None] = logger.info) -> None:
        self._shadow = None
        self._verdict = verdict
        log("%s (after %d items)", verdict, shadow.items)


class _Request:
    """A request of one predictor, and of the shadow beside it; where the predictor has no stages, its predictions."""

    __slots__ = ("begun", "beside", "is_answered", "predictor")

    def __init__(self, predictor: StagedPredictor | None, begun: Any) -> None:
        self.predictor = predictor
        self.begun = begun
        self.beside: _Request | None = None
        self.is_answered = False

    def finish(self, answer: Any) -> list[Prediction]:
        """Return the predictions, or raise what `infer` did."""
        if isinstance(answer, _Failed):
            raise answer.error
        if self.predictor is None:
            predictions: list[Prediction] = self.begun.predictions
            return predictions
        return self.predictor.finish(self.begun, answer)

    def keep(self, answer: Any) -> None:
        """Have the predictor take note of an answer, or raise what `infer` did."""
        if isinstance(answer, _Failed):
            raise answer.error
        assert self.predictor is not None
        getattr(self.predictor, "keep", self.predictor.finish)(self.begun, answer)


class _Failed:
    """Stands for the result of an `infer` that raised, until `finish` can raise it on the loop."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def _begin(live: Predictor, staged: StagedPredictor | None, context: Context, steps: int) -> _Request:
    begun = Ready(live.predict(context, steps)) if staged is None else staged.begin(context, steps)
    return _Request(None if isinstance(begun, Ready) else staged, begun)


def _inferred(requests: Sequence[_Request]) -> list[Any]:
    """Return one result for each request, of the predictor that began it."""
    results: list[Any] = []
    for _, group in groupby(requests, key=lambda request: id(request.predictor)):
        batch = list(group)
        predictor = batch[0].predictor
        try:
            told = [None] * len(batch) if predictor is None else predictor.infer([one.begun for one in batch])
            if len(told) != len(batch):
                raise ValueError(f"infer returned {len(told)} results for {len(batch)} requests")
            results += told
        except Exception as error:
            results += [_Failed(error)] * len(batch)
    return results


def _keep_off_loop(predictor: Predictor) -> None:
    """See to it that a staged predictor runs its networks in its stages alone, and encodes texts nowhere else."""
    if isinstance(predictor, StagedPredictor):
        for method in ("use_in_stages", "encode_in_stages"):
            getattr(predictor, method, lambda: None)()


def _failure(learn_one: Callable[[Event], None], event: Event) -> Exception | None:
    try:
        learn_one(event)
    except Exception as error:
        return error
    return None
