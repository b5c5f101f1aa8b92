"""Fits a model without a vocabulary to the fit parts of several data sets, and makes a bundle's predictor of it.

The end of each stream is held out. It is not learned afterwards either, so that the figures are those of the very
network that comes out: what new assistants gain that begin with what was held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from preloader.errors import ConfigurationError
from preloader.evaluation.cases import items_of
from preloader.evaluation.first_events import Beginning, Gain
from preloader.history import Session, SplitRule
from preloader.learning.anonymous_examples import AnonymousExamples, Assistant, anonymous_examples
from preloader.learning.anonymous_fit import batch_of, fit_examples
from preloader.learning.anonymous_network import INPUTS, OUTPUTS
from preloader.learning.anonymous_recipe import AnonymousRecipe, SourceRecipe
from preloader.learning.distinct import choose_distinct
from preloader.learning.export import to_onnx
from preloader.learning.fit import OnStep
from preloader.learning.forms import forms_of
from preloader.learning.leave_out import (
    Source,
    assistants_in,
    beginnings_of,
    compared,
    example_inputs,
    invented_assistants,
    mixture_of,
)
from preloader.learning.network import parameters
from preloader.learning.parallel import single_threaded
from preloader.learning.parts import Parts, parts_of
from preloader.learning.recipe import Recipe, ValidationRecipe
from preloader.ndarray import NDArray
from preloader.prediction import FittedOn
from preloader.prediction.anonymous import NAME
from preloader.prediction.anonymous_features import STEPS
from preloader.prediction.anonymous_memory import AnonymousSettings
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.manifest import session_hash
from preloader.prediction.onnx import OnnxRuntime

_VERIFIED_ON = 1_024


class Given(msgspec.Struct, frozen=True):
    """A history that was given for one of a recipe's sources.

    Attributes:
        recipe: The source.
        name: The history's own name: simulations of different seeds name their sessions alike.
        rule: How its format is split.
        sessions: All of it.
    """

    recipe: SourceRecipe
    name: str
    rule: SplitRule
    sessions: Sequence[Session]

    def source(self, sessions: Sequence[Session]) -> Source:
        """Return some of its sessions as a source of their own."""
        recipe = self.recipe
        return Source(recipe.format, recipe.kinds, self.rule, [sessions], recipe.shared, recipe.max_items)


class FittedSources(msgspec.Struct, frozen=True):
    """What came of a recipe.

    Attributes:
        predictor: A mixture that has learned nothing yet but, from others, how to begin.
        fitted_on: What the network learned from.
        items: How many items of each source and kind it learned, and of invented assistants.
        validation: What each predictor gains on new assistants, by source and kind.
        files: What a bundle must hold beside its state.
        parameters: How many numbers the network learned.
        losses: The loss of each mini-batch.
        verification: The differences between the exported forms and torch, in words.
    """

    predictor: MixturePredictor
    fitted_on: FittedOn
    items: dict[str, int]
    validation: dict[str, dict[str, Gain]]
    files: Mapping[str, bytes | Path]
    parameters: int
    losses: list[float]
    verification: list[str]


def match(recipe: AnonymousRecipe, formats: Mapping[str, str]) -> dict[str, SourceRecipe]:
    """Return the source of each history.

    Args:
        recipe: What names the sources.
        formats: Each history's format, by its name.

    Raises:
        ConfigurationError: A history is of no source, or a source has no history.
    """
    sources = {source.format: source for source in recipe.sources}
    for name, found in formats.items():
        if found not in sources:
            raise ConfigurationError(
                f"--history {name} is of the format {found}, and recipe {recipe.name!r} learns from "
                f"{', '.join(sources)}"
            )
    missing = [name for name in sources if name not in formats.values()]
    if missing:
        raise ConfigurationError(
            f"recipe {recipe.name!r} learns from {', '.join(sources)}, and no --history is of the format "
            f"{' or '.join(missing)}: give at least one of each"
        )
    return {name: sources[found] for name, found in formats.items()}


def by_format(given: Iterable[Given]) -> dict[str, Source]:
    """Return whole sources, each with all of its histories."""
    found: dict[str, Source] = {}
    for one in given:
        name = one.recipe.format
        held = found[name].histories if name in found else []
        found[name] = msgspec.structs.replace(one.source(one.sessions), histories=[*held, one.sessions])
    return found


@single_threaded()
def fit_sources(given: Sequence[Given], recipe: AnonymousRecipe, on_step: OnStep = lambda label: None) -> FittedSources:
    """Fit and validate a network, and verify its exported forms.

    On one thread, as `fit_sequence` does: what comes out does not depend on how many there are.

    Args:
        given: At least one history of each source.
        recipe: What is to be trained.
        on_step: Called with a label after each step of the work.

    Raises:
        HistoryError: A history is too small.
        ExportError: An exported network does not say what the trained one says.
        MissingExtraError: The training stack is not installed.
    """
    training, seed = recipe.anonymous, recipe.anonymous.seed
    parts = [parts_of(one.sessions, one.rule, _alone(one.recipe, recipe), seed) for one in given]
    assistants = invented_assistants(recipe.invented)
    for one, part in zip(given, parts, strict=True):
        assistants += assistants_in(part.fit, one.source(part.fit), seed)
    sets = [
        anonymous_examples(assistants, training.features, STEPS, items, lambda: on_step("looking"))
        for items in training.items
    ]
    losses: list[float] = []

    def learned(number: int, loss: float) -> None:
        losses.append(loss)
        on_step("fitting")

    network = fit_examples(sets, training, learned)
    onnx = to_onnx(network, example_inputs(network, training.features.recent), OUTPUTS)
    inputs = inputs_of(sets[0], training.features, _VERIFIED_ON)
    files, verification = forms_of(NAME, network, onnx, inputs, OUTPUTS, weights=network.state_dict())
    runtime = OnnxRuntime(onnx)
    return FittedSources(
        predictor=mixture_of(runtime, training.features, digest=sha256(onnx).hexdigest()),
        fitted_on=_fitted_on(given, parts, recipe),
        items=_items(assistants),
        validation=_validation(given, parts, recipe, runtime, on_step),
        files=files,
        parameters=parameters(network),
        losses=losses,
        verification=verification,
    )


def inputs_of(examples: AnonymousExamples, settings: AnonymousSettings, count: int) -> dict[str, Tensor]:
    """Return the network's inputs on evenly spaced examples that differ, in the shapes that it has at run time."""

    def arrays(chosen: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        return {name: value.numpy() for name, value in _inputs_at(examples, settings, chosen).items()}

    return _inputs_at(examples, settings, choose_distinct(len(examples), count, arrays))


def _inputs_at(
    examples: AnonymousExamples, settings: AnonymousSettings, chosen: NDArray[np.int64]
) -> dict[str, Tensor]:
    batch = batch_of(examples, chosen, settings.candidates)
    room = settings.candidates - batch["candidates"].shape[1]
    batch["candidates"] = torch.nn.functional.pad(batch["candidates"], (0, 0, 0, room))  # (batch, slots, features)
    batch["present"] = torch.nn.functional.pad(batch["present"], (0, room))  # (batch, slots)
    batch["recent"] = batch["recent"].int()
    return {name: batch[name] for name in INPUTS}


def _alone(source: SourceRecipe, recipe: AnonymousRecipe) -> Recipe:
    """Return a recipe of one source, for what is the same as if it were learned alone: how it is cut."""
    cut = ValidationRecipe(share=recipe.validation.share)
    return Recipe(f"{recipe.name}: {source.format}", "online", source, validation=cut)


def _validation(
    given: Sequence[Given], parts: Sequence[Parts], recipe: AnonymousRecipe, runtime: OnnxRuntime, on_step: OnStep
) -> dict[str, dict[str, Gain]]:
    begun: dict[str, list[Beginning]] = {}
    for one, part in zip(given, parts, strict=True):
        for kind in one.recipe.kinds:
            found = beginnings_of(one.source(part.validation), kind, recipe.validation.a_stream, recipe.anonymous.seed)
            begun.setdefault(f"{one.recipe.format} {kind}", []).extend(found)
    features = recipe.anonymous.features
    return {
        name: compared(runtime, features, found, lambda: on_step("validating"))
        for name, found in begun.items()
        if found
    }


def _fitted_on(given: Sequence[Given], parts: Sequence[Parts], recipe: AnonymousRecipe) -> FittedOn:
    hashes = {
        session_hash(f"{one.name}\0{session.user}" if one.recipe.shared else session.user, session.session)
        for one, part in zip(given, parts, strict=True)
        for session in part.whole
    }
    sessions = [session for part in parts for session in part.whole]
    return FittedOn(
        format=", ".join(source.format for source in recipe.sources),
        description=" ".join(source.description for source in recipe.sources),
        licence="; ".join(f"{source.format}: {source.licence}" for source in recipe.sources),
        sessions=sorted(hashes),
        events=sum(len(session.events) for session in sessions),
        last_s=max(event.time_s for session in sessions for event in session.events),
    )


def _items(assistants: Iterable[Assistant]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in assistants:
        count = sum(len(items_of(session, one.kind)) for session in one.sessions)
        found[one.source] = found.get(one.source, 0) + count
    return found
