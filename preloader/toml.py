"""TOML files whose mistakes can be shown in place: which file, which line, which field, what would be right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from preloader.checks import did_you_mean, dotted, shown
from preloader.errors import ConfigurationError
from preloader.toml_lines import Keys, lines_of

T = TypeVar("T", bound=msgspec.Struct)


class TomlDocument:
    """A TOML file: its data, and where in the file each value stands.

    Attributes:
        path: The file, as it is named in messages.
        data: What `tomllib` made of it.
    """

    def __init__(self, text: str, path: Path | str) -> None:
        self.path = str(path)
        text = text.removeprefix("\ufeff").replace("\r\n", "\n") + "\n"
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            at = re.search(r" \(at line (\d+), column \d+\)$", str(error))
            line, reason = (f":{at[1]}", str(error)[: at.start()]) if at else ("", str(error))
            raise ConfigurationError(f"{self.path}{line}: is not valid TOML: {reason}") from error
        self._lines = lines_of(text)

    @classmethod
    def read(cls, path: Path | str) -> TomlDocument:
        """Read a file.

        Raises:
            ConfigurationError: It cannot be read, is not UTF-8, or is not TOML.
        """
        try:
            return cls(Path(path).read_text(encoding="utf-8"), path)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from error

    def line(self, keys: Keys) -> int:
        """Return the line, from 1, of a value; of what holds it, where the file does not have it."""
        while keys not in self._lines:
            keys = keys[:-1]
        return self._lines[keys]

    def place(self, keys: Keys) -> str:
        """Return file, line and field of a value, as messages begin."""
        at = f", field '{dotted(keys)}'" if keys else ""
        return f"{self.path}:{self.line(keys)}{at}"

    def error(self, keys: Keys, reason: str) -> ConfigurationError:
        """Return the error that blames one value."""
        return ConfigurationError(f"{self.place(keys)}: {reason}", field=dotted(keys))

    def value(self, keys: Keys) -> Any:
        """Return the value at ``keys``."""
        value: Any = self.data
        for key in keys:
            value = value[key]
        return value

    def convert(self, keys: Keys, type_: type[T]) -> T:
        """Return the table at ``keys`` as a struct.

        Raises:
            ConfigurationError: A key is unknown or missing, or its value is of the wrong type or out of range.
        """
        try:
            return msgspec.convert(self.value(keys), type_)
        except msgspec.ValidationError as error:
            raise self._translated(keys, type_, error) from None

    def _translated(self, keys: Keys, type_: type[T], error: msgspec.ValidationError) -> ConfigurationError:
        cause = error.__cause__
        if isinstance(cause, ConfigurationError):
            return self.error((*keys, *filter(None, [cause.field])), str(cause).removeprefix(f"{cause.field} "))
        what, _, path = str(error).partition(" - at `$")
        before, keys = len(keys), (*keys, *_steps(path))
        if unknown := re.fullmatch("Object contains unknown field `(.*)`", what, re.DOTALL):
            return self.error((*keys, unknown[1]), f"is unknown; {did_you_mean(unknown[1], type_.__struct_fields__)}")
        if missing := re.fullmatch("Object missing required field `(.*)`", what):
            return self.error((*keys, missing[1]), "is missing")
        if re.fullmatch("Invalid enum value .*", what, re.DOTALL):
            choices = choices_of(type_, keys[before:])
            return self.error(keys, f"must be {choices or 'another'}, not {shown(self.value(keys))}")
        expected = what.removeprefix("Expected ").partition(", got ")[0]
        for jargon, word in (("`", ""), (" | null", ""), ("object", "table")):
            expected = expected.replace(jargon, word)
        return self.error(keys, f"must be {expected}, not {shown(self.value(keys))}")


def choices_of(type_: Any, path: Keys) -> str:
    """Return the literals that are allowed at a path inside a type, in words; nothing where there are none."""
    for step in path:
        if isinstance(step, str):
            fields = (
                msgspec.structs.fields(type_) if isinstance(type_, type) and issubclass(type_, msgspec.Struct) else ()
            )
            type_ = next((field.type for field in fields if field.encode_name == step), None)
        else:
            type_ = next(iter(get_args(type_)), None)
    literals = [value for one in (type_, *get_args(type_)) if get_origin(one) is Literal for value in get_args(one)]
    return " or ".join(map(repr, literals))


def _steps(path: str) -> Keys:
    """Parse the tail of msgspec's path, such as ``.requires[1]``."""
    return tuple(int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path))
