"""Recipes of models without a vocabulary: they learn from several data sets, so that what they learn is of none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from preloader.errors import ConfigurationError
from preloader.learning.anonymous_settings import AnonymousTraining
from preloader.learning.recipe import DataRecipe, Name, Share, recipe_in
from preloader.learning.settings import Count
from preloader.toml import TomlDocument

MODEL = "anonymous"


class SourceRecipe(DataRecipe, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One data set of several; the fields of `DataRecipe`, and these.

    Attributes:
        url: Where it is published, for the card.
        shared: Whether all users of a history share one assistant, as in a household; otherwise each has his own.
        max_items: About how many items of a kind are learned from each assistant at most.
    """

    url: str = ""
    shared: bool = False
    max_items: Count = 16_000


class BeginningsRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the model is validated: on new assistants, which begin with what was held out.

    Attributes:
        share: How much of the sessions to learn from, from the end of each stream, is held out.
        a_stream: At how many places, at most, an assistant begins in what was held out of each stream.
    """

    share: Share = 0.2
    a_stream: Count = 1


class AnonymousRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole recipe.

    Attributes:
        name: Its name, which the bundle's card bears.
        model: The sort of model.
        sources: What is learned from: a data set of each format.
        anonymous: What the model sees, how large it is, and how it is trained.
        invented: How many invented assistants are learned from, too.
        validation: How it is validated.
    """

    name: Name
    model: Literal["anonymous"]
    sources: Annotated[tuple[SourceRecipe, ...], msgspec.Meta(min_length=1)]
    anonymous: AnonymousTraining = AnonymousTraining()
    invented: Annotated[int, msgspec.Meta(ge=0)] = 240
    validation: BeginningsRecipe = BeginningsRecipe()

    def __post_init__(self) -> None:
        formats = [source.format for source in self.sources]
        for name in formats:
            if formats.count(name) > 1:
                raise ConfigurationError(f"sources names the format {name!r} twice", field="sources")


_PARTS: dict[str, type[msgspec.Struct]] = {"anonymous": AnonymousTraining, "validation": BeginningsRecipe}


def is_anonymous(path: Path | str) -> bool:
    """Return whether a recipe is one of these.

    Raises:
        ConfigurationError: It cannot be read.
    """
    return bool(TomlDocument.read(path).data.get("model") == MODEL)


def read_anonymous_recipe(path: Path | str, overrides: Iterable[str] = ()) -> AnonymousRecipe:
    """Read a recipe.

    Args:
        path: The file.
        overrides: Assignments that take the place of what the file says, as in ``anonymous.batches=100``.

    Raises:
        ConfigurationError: The file or an override is wrong; file, line and field are named.
    """
    document = TomlDocument.read(path)
    if document.data.get("model") != MODEL:
        raise document.error(("model",), f"must be {MODEL!r} here: only such a model learns from several sources")
    written = document.data.get("sources")
    for number, source in enumerate(written if isinstance(written, list) else ()):
        if isinstance(source, dict):  # one by one, so that a mistake in one is told from its own fields
            document.convert(("sources", number), SourceRecipe)
    return recipe_in(document, AnonymousRecipe, _PARTS, overrides)
