"""A bundle under ``preloader evaluate``: which rows it gives, and whether it may be tested at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from preloader.cli.learned import check_kind, learned_from
from preloader.errors import ConfigurationError
from preloader.evaluation import Candidate, Task
from preloader.evaluation.alone import ExpertAlone
from preloader.events import Context
from preloader.ports import Predictor
from preloader.prediction import Bundle, OnlinePredictor
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.experts import MixturePredictor


class ScoredBundle:
    """A bundle whose predictor is scored, and, where that is a mixture, each expert of it alone.

    A bundle that names its kinds is scored as it is. One without a vocabulary knows none of a history's keys before it
    has met them: it counts the fit part like any other predictor, while its networks stay as they are.

    Args:
        bundle: It.

    Attributes:
        names: What it gives rows for: the predictor first. The mixture's online predictor is none of them, since it
            is what a new one is.
        learns_first: Whether it counts the fit part before it is scored.

    Raises:
        BundleError: No predictor of this program has such a state, or it is damaged.
        MissingExtraError: What runs the networks is not installed.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.learns_first = bundle.manifest.kinds is None
        self._predictor = bundle.predictor()
        experts = self._predictor.experts if isinstance(self._predictor, MixturePredictor) else ()
        alone = [expert.name for expert in experts if expert.name != OnlinePredictor.name]
        self.names = [self._predictor.name, *alone]

    def candidate(self, name: str, kind: str) -> Candidate:
        """Return one of its rows.

        Args:
            name: One of ``names``.
            kind: The kind of the items; no other is learned where the bundle would learn every kind.
        """
        expert = name if name != self.names[0] else None
        return Candidate(name, partial(_predictor, self.bundle, kind, expert), fitted=not self.learns_first)

    def note(self, fit_items: int) -> str:
        """Return a sentence about a row that would mislead whoever reads it alone; nothing where there is none.

        Args:
            fit_items: How many items of the kind are learned first.
        """
        experts = self._predictor.experts if isinstance(self._predictor, MixturePredictor) else ()
        for expert in experts if self.learns_first else ():
            if isinstance(expert, AnonymousPredictor) and fit_items >= (most := expert.settings.max_items):
                return (
                    f"The network {expert.name!r} says nothing of a kind that came {most:,} times, and {fit_items:,} "
                    "items are learned here: the mixture is left to the online predictor."
                )
        return ""

    def check(self, paths: Sequence[str], task: Task) -> None:
        """Refuse what cannot be scored on a task, or may have learned from its test.

        Args:
            paths: Where the history was read from.
            task: What is measured.

        Raises:
            ConfigurationError: The bundle is of other kinds, looks less far ahead, learned from what is tested, or does
                not say what it learned from.
        """
        path, manifest = self.bundle.path, self.bundle.manifest
        check_kind(self.bundle, task.kind)
        if manifest.fitted_on is None:
            raise ConfigurationError(
                f"{path} does not say what it learned from, so it cannot be kept apart from a test"
            )
        shared = learned_from(manifest.fitted_on, paths, task.test)
        if shared:
            raise ConfigurationError(
                f"{path} learned from {shared:,} of the {len(task.test):,} test sessions; test it on others"
            )
        try:
            self._predictor.predict(Context(), task.steps)
        except ValueError as error:
            raise ConfigurationError(f"--steps {task.steps} is too many for {path}: {error}") from None


def _predictor(bundle: Bundle, kind: str, expert: str | None) -> Predictor:
    predictor = bundle.predictor(kinds=(kind,))
    if expert is None:
        return predictor
    assert isinstance(predictor, MixturePredictor)
    return ExpertAlone(predictor, expert)
