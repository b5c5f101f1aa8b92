"""The arguments of tool calls: what the operator's schema allows, and the one spelling in which two calls are equal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from preloader.checks import did_you_mean, shown
from preloader.errors import ConfigurationError, RefusedCallError, RefusedPathError
from preloader.workspace.globs import MAX_PATTERN
from preloader.workspace.paths import Confined

MAX_LENGTH = 2_000
_MOST_STRINGS = 64

ArgumentType = Literal["string", "strings", "integer", "number", "boolean", "path", "glob"]


class Argument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one argument of a tool may be.

    Attributes:
        type: Its type; a ``path`` is confined to the workspace, and a ``glob`` to what lies beneath a path.
        required: Whether a call without it is refused.
        default: What it is where a call leaves it out; a call that states it is the same call.
        choices: The values that it may have; any where there are none.
        least: The smallest number, or the shortest text.
        most: The largest number, or the longest text.
        ignored: Whether it says nothing of what the call does, as a description does, and is dropped.
    """

    type: ArgumentType
    required: bool = False
    default: str | int | float | bool | list[str] | None = None
    choices: tuple[str | int | float, ...] = ()
    least: float | None = None
    most: float | None = None
    ignored: bool = False

    def __post_init__(self) -> None:
        for field in ("least", "most"):
            if getattr(self, field) is not None and self.type == "boolean":
                raise ConfigurationError(f"{field} is not for true and false", field=field)
        if self.default is not None and not isinstance(self.default, _PLAIN[self.type]):
            expected = f"a value of the type {self.type!r}"
            raise ConfigurationError(f"default must be {expected}, not {shown(self.default)}", field="default")
        if self.default is not None and self.choices and self.default not in self.choices:
            raise ConfigurationError(f"default must be one of the choices, not {shown(self.default)}", field="default")


_PLAIN: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "strings": list,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "path": str,
    "glob": str,
}


def canonical(
    tool: str, schema: Mapping[str, Argument], arguments: Mapping[str, Any], confined: Confined
) -> dict[str, Any]:
    """Return the arguments of a call in their one spelling: paths relative, defaults and ignored ones left out.

    Raises:
        RefusedCallError: An argument is unknown, missing, of another type, or out of its range.
        RefusedPathError: A path may not be looked at.
    """
    unknown = next((name for name in arguments if name not in schema), None)
    if unknown is not None:
        raise RefusedCallError(f"{tool} has no argument {shown(unknown)}; {did_you_mean(str(unknown), tuple(schema))}")
    told: dict[str, Any] = {}
    for name in sorted(schema):
        argument = schema[name]
        if argument.ignored:
            continue
        value = arguments.get(name)
        if value is None:
            if argument.required:
                raise RefusedCallError(f"{tool} needs the argument {name!r}")
            continue
        value = _valid(f"{name!r} of {tool}", argument, value, confined)
        if value != argument.default:
            told[name] = value
    return told


def filled(schema: Mapping[str, Argument], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return canonical arguments with the defaults of those that they leave out."""
    return {name: told.get(name, one.default) for name, one in schema.items() if not one.ignored}


def json_schema(schema: Mapping[str, Argument]) -> dict[str, Any]:
    """Return the JSON schema of a call's arguments, for a model that is to make calls; ignored ones are left out."""
    told = {name: argument for name, argument in schema.items() if not argument.ignored}
    return {
        "type": "object",
        "properties": {name: _property(argument) for name, argument in told.items()},
        "required": [name for name, argument in told.items() if argument.required],
        "additionalProperties": False,
    }


def _property(argument: Argument) -> dict[str, Any]:
    is_list, is_number = argument.type == "strings", argument.type in ("integer", "number")
    bounds = (
        ("minimum", "maximum") if is_number else ("minItems", "maxItems") if is_list else ("minLength", "maxLength")
    )
    told: dict[str, Any] = {"type": _JSON_TYPES.get(argument.type, "string")}
    if is_list:
        told["items"] = {"type": "string"}
    if argument.choices:
        told["enum"] = list(argument.choices)
    stated = {"default": argument.default, bounds[0]: argument.least, bounds[1]: argument.most}
    return told | {name: value for name, value in stated.items() if value is not None}


_JSON_TYPES = {"strings": "array", "integer": "integer", "number": "number", "boolean": "boolean"}


def _valid(what: str, argument: Argument, value: Any, confined: Confined) -> Any:
    value = _TYPES[argument.type](what, value, confined)
    if argument.choices and value not in argument.choices:
        allowed = ", ".join(map(repr, argument.choices))
        raise RefusedCallError(f"{what} must be one of {allowed}, not {shown(value)}")
    size, must = (value, "be") if isinstance(value, int | float) else (len(value), "have a length of")
    if argument.least is not None and size < argument.least:
        raise RefusedCallError(f"{what} must {must} at least {argument.least:g}, not {shown(value)}")
    if argument.most is not None and size > argument.most:
        raise RefusedCallError(f"{what} must {must} at most {argument.most:g}, not {shown(value)}")
    return value


def _string(what: str, value: Any, confined: Confined) -> str:
    if not isinstance(value, str) or len(value) > MAX_LENGTH or "\0" in value:
        raise RefusedCallError(f"{what} must be a text of at most {MAX_LENGTH} characters, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RefusedCallError(f"{what} must be valid Unicode, not {shown(value)}") from None
    return value


def _strings(what: str, value: Any, confined: Confined) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST_STRINGS:
        raise RefusedCallError(f"{what} must be a list of at most {_MOST_STRINGS} texts, not {shown(value)}")
    return [_string(what, one, confined) for one in value]


def _integer(what: str, value: Any, confined: Confined) -> int:
    if isinstance(value, float) and value.is_integer():  # models write 10.0
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**53:
        raise RefusedCallError(f"{what} must be a whole number, not {shown(value)}")
    return value


def _number(what: str, value: Any, confined: Confined) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise RefusedCallError(f"{what} must be a number, not {shown(value)}")
    return float(value)


def _boolean(what: str, value: Any, confined: Confined) -> bool:
    if not isinstance(value, bool):
        raise RefusedCallError(f"{what} must be true or false, not {shown(value)}")
    return value


def _path(what: str, value: Any, confined: Confined) -> str:
    return str(confined.check(_string(what, value, confined)))


def _glob(what: str, value: Any, confined: Confined) -> str:
    pattern = _string(what, value, confined)
    if len(pattern) > MAX_PATTERN:
        raise RefusedCallError(f"{what} must be a pattern of at most {MAX_PATTERN} characters, not {shown(pattern)}")
    if pattern.startswith(("/", "~", "-")) or "\\" in pattern or ".." in pattern.split("/"):
        raise RefusedPathError(f"the pattern {shown(pattern)} is refused: it must be relative, and go down only")
    return pattern.removeprefix("./")


_TYPES = {
    "string": _string,
    "strings": _strings,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "path": _path,
    "glob": _glob,
}
