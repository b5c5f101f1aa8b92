"""The command that is being run, written so that it can be run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer


def command_line(context: typer.Context) -> str:
    """Return the running command with every option that is not at its default."""
    words = ["preloader", context.info_name or ""]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value not in (None, parameter.get_default(context)):
            words += _written(parameter, value)
    return shlex.join(words)


def _written(parameter: Any, value: Any) -> Iterator[str]:
    """Yield the words of one parameter; its class is typer's own affair."""
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if parameter.param_type_name == "option":
            yield parameter.secondary_opts[-1] if one is False else parameter.opts[0]
        if not isinstance(one, bool):
            yield str(one)
