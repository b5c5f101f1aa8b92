"""What a model answers, and what of that is let in: files of the index, and calls that the catalogue lists as safe.

The schema keeps to what every server can hold a model to: all fields are required, and none has a bound. Bounds are
checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from preloader.errors import PreloaderError, RefusedCallError, RefusedPathError
from preloader.workspace.advice.limits import tokens_in
from preloader.workspace.arguments import canonical
from preloader.workspace.path_table import PathTable
from preloader.workspace.providers import WorkspaceProviders

MOST_FILES, MOST_CALLS = 8, 4


class GuessedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that the agent may read soon."""

    path: str
    probability: float


class GuessedArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An argument of a call."""

    name: str
    value: str | int | float | bool | list[str]


class GuessedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the agent may make soon."""

    tool: str
    arguments: list[GuessedArgument]
    probability: float


class NextStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent may ask for soon, the likeliest first."""

    files: list[GuessedFile]
    calls: list[GuessedCall]


class Admitted(msgspec.Struct, frozen=True):
    """What there is of an answer.

    Attributes:
        key: The resource.
        sort: ``file``, or the tool.
        stated: The probability that the model stated.
    """

    key: str
    sort: str
    stated: float


def schema_tokens() -> int:
    """Return about how many tokens the schema of an answer has."""
    return tokens_in(msgspec.json.encode(msgspec.json.schema(NextStep)))


def admitted(answer: NextStep, table: PathTable, providers: WorkspaceProviders) -> Iterator[Admitted | PreloaderError]:
    """Yield what there is of an answer, and for everything else why it is refused. Looks at no disk.

    Args:
        answer: Untrusted.
        table: The files there are.
        providers: What may be looked at, and which calls may run ahead.
    """
    guesses: list[GuessedFile | GuessedCall] = [*answer.files[:MOST_FILES], *answer.calls[:MOST_CALLS]]
    for guess in guesses:
        try:
            if not 0.0 <= guess.probability <= 1.0:  # NaN, too
                raise RefusedCallError(f"{guess.probability} is no probability")
            yield _file(guess, table, providers) if isinstance(guess, GuessedFile) else _call(guess, table, providers)
        except PreloaderError as error:
            yield error
    for left_out in [*answer.files[MOST_FILES:], *answer.calls[MOST_CALLS:]]:
        yield RefusedCallError(f"{type(left_out).__name__} is one too many")


def _file(guess: GuessedFile, table: PathTable, providers: WorkspaceProviders) -> Admitted:
    path = _indexed(str(providers.confined.check(guess.path)), table)
    return Admitted(providers.file_key(path), "file", guess.probability)


def _call(guess: GuessedCall, table: PathTable, providers: WorkspaceProviders) -> Admitted:
    arguments = {one.name: one.value for one in guess.arguments}
    if len(arguments) < len(guess.arguments):
        raise RefusedCallError("the call is refused: it has an argument twice")
    tool = providers.tools.catalogue.ahead(guess.tool)
    told: dict[str, Any] = canonical(tool.name, tool.arguments, arguments, providers.confined)
    for name, value in told.items():
        if tool.arguments[name].type == "path" and value != "." and not table.is_directory(value):
            _indexed(value, table)
    return Admitted(providers.tools.key(tool.name, told), tool.name, guess.probability)


def _indexed(path: str, table: PathTable) -> str:
    if path not in table:
        raise RefusedPathError(f"the path {path!r} is refused: the index has no such file")
    return path
