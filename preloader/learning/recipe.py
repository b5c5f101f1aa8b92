"""Recipes: what to train, on what, and how it is validated. They are TOML files whose mistakes are shown in place."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from preloader.checks import did_you_mean, shown
from preloader.errors import ConfigurationError
from preloader.learning.settings import Count, NetworkSettings, TrainingSettings
from preloader.prediction.features import FeatureSettings
from preloader.prediction.settings import OnlineSettings
from preloader.toml import TomlDocument, choices_of

Share = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
LinearName = Literal["logistic"]
Name = Annotated[str, msgspec.Meta(min_length=1)]
R = TypeVar("R", bound=msgspec.Struct)


class DataRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is learned from.

    Attributes:
        format: The histories' format, as ``--format`` takes it.
        kinds: The resource kinds to predict.
        description: Where the data are from, for the card.
        licence: Under which licence they stand, for the card.
        repeats: Whether an item that repeats the one before it counts; dropped ones are never predicted.
        min_sessions: Fewer sessions to learn from are refused.
        min_items: Fewer items of a kind to learn from are refused.
    """

    format: Name
    kinds: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    description: str = ""
    licence: str = ""
    repeats: Literal["kept", "dropped"] = "kept"
    min_sessions: Count = 10
    min_items: Count = 200


class ValidationRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the model is validated before it is fitted on everything.

    Attributes:
        share: How much of the sessions to learn from, from their end, is held out.
        bootstraps: How many resamples the intervals are made of.
        baselines: Models of scikit-learn that stand in the table beside a sequence model.
    """

    share: Share = 0.2
    bootstraps: Count = 200
    baselines: tuple[Literal["logistic", "boosting"], ...] = ("logistic", "boosting")


class SequenceRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a sequence model predicts.

    Attributes:
        horizon: How many items ahead.
        members: How many networks are fitted from different seeds; what counts is their mean.
        second: Whether a second online predictor that hears no words joins the mixture.
        experts: Models of scikit-learn that join the mixture, exported and verified as the networks are.
        calibrate: Whether networks and mixture are calibrated.
        min_uses: Keys used less often get no number: they teach how often something unknown comes.
        max_vocabulary: How many keys get one at most.
        min_user_sessions: Users with fewer sessions are not told apart.
        refit: Whether the network is fitted anew on all sessions once it has been validated.
        coreml: In which precisions CoreML programs are put into the bundle; both are verified.
        adaptable: Whether the bundle holds the weights that personal adapters go on from; without them it is smaller.
    """

    horizon: Annotated[int, msgspec.Meta(ge=1, le=8)] = 3
    members: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    second: bool = False
    experts: Annotated[tuple[LinearName, ...], msgspec.Meta(max_length=1)] = ()
    calibrate: bool = True
    min_uses: Count = 2
    max_vocabulary: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 500
    min_user_sessions: Count = 3
    refit: bool = True
    coreml: tuple[Literal["fp16", "fp32"], ...] = ("fp16",)
    adaptable: bool = True


class OutcomesRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The world in which counterfactual outcomes come about: what loading a resource now would have been worth.

    Attributes:
        budget: The store's capacity, in mean resource sizes.
        size_seed: Of the sizes that are drawn.
        rows: A file that ``preloader replay --emit-outcomes`` wrote; its labels then take the place of these.
    """

    budget: Annotated[float, msgspec.Meta(gt=0.0)] = 5.0
    size_seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    rows: str = ""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole recipe.

    Attributes:
        name: Its name, which the bundle's card bears.
        model: The sort of model.
        data: What is learned from.
        online: The settings of the online predictor.
        sequence: What a sequence model predicts.
        features: What it sees.
        network: How large it is.
        training: How it is fitted.
        outcomes: Where it learns what a preload is worth.
        validation: How it is validated.
    """

    name: Name
    model: Literal["online", "sequence"]
    data: DataRecipe
    online: OnlineSettings = OnlineSettings()
    sequence: SequenceRecipe = SequenceRecipe()
    features: FeatureSettings = FeatureSettings()
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    outcomes: OutcomesRecipe = OutcomesRecipe()
    validation: ValidationRecipe = ValidationRecipe()


_PARTS: dict[str, type[msgspec.Struct]] = {
    "data": DataRecipe,
    "online": OnlineSettings,
    "sequence": SequenceRecipe,
    "features": FeatureSettings,
    "network": NetworkSettings,
    "training": TrainingSettings,
    "outcomes": OutcomesRecipe,
    "validation": ValidationRecipe,
}


def read_recipe(path: Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: The file.
        overrides: Assignments that take the place of what the file says, as in ``online.max_contexts=1000``.

    Raises:
        ConfigurationError: The file or an override is wrong; file, line and field are named.
    """
    return recipe_in(TomlDocument.read(path), Recipe, _PARTS, overrides)


def recipe_in(
    document: TomlDocument, recipe: type[R], parts: Mapping[str, type[msgspec.Struct]], overrides: Iterable[str]
) -> R:
    """Return the recipe, of any model, in a document, with what takes the place of some of it.

    Args:
        document: The file.
        recipe: The type of the recipe.
        parts: The types of its tables.
        overrides: See `read_recipe`.

    Raises:
        ConfigurationError: The file or an override is wrong; file, line and field are named.
    """
    for name, part in parts.items():  # one by one, so that a mistake in one is told from its own fields
        if isinstance(document.data.get(name), dict):
            document.convert((name,), part)
    read = document.convert((), recipe)
    for override in overrides:
        read = overridden(read, override)
    return read


def overridden(recipe: R, override: str) -> R:
    """Return a recipe, of any model, with one assignment in place of what it says.

    Raises:
        ConfigurationError: There is no such field, or the value is wrong.
    """
    field, _, written = override.partition("=")
    names = field.strip().split(".")
    whole = msgspec.to_builtins(recipe)
    table: Any = whole
    for name in names[:-1]:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict) or names[-1] not in table:
        known = [f"{part}.{name}" for part, held in whole.items() if isinstance(held, dict) for name in held]
        raise ConfigurationError(
            f"--set {override!r}: {shown(field.strip())} is no field of a recipe; {did_you_mean(field.strip(), known)}"
        )
    table[names[-1]] = _value(written.strip())
    try:
        return msgspec.convert(whole, type(recipe))
    except msgspec.ValidationError as error:
        reason = str(error.__cause__ or error)
        if reason.startswith("Invalid enum value") and (choices := choices_of(type(recipe), tuple(names))):
            reason = f"{field.strip()} must be {choices}, not {shown(table[names[-1]])}"
        raise ConfigurationError(f"--set {override!r}: {reason}") from None


def _value(written: str) -> Any:
    """Return a TOML value; what is none is taken for a string, so that a shell needs no quotes within quotes."""
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return written
