"""The command that is being run, written so that it can be run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import click


def command_line() -> str:
    """Return the running command with every option that is not at its default."""
    context = click.get_current_context()
    words = ["preloader", context.info_name or ""]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is not None and value != parameter.get_default(context):
            words += _written(parameter, value)
    return shlex.join(words)


def _written(parameter: click.Parameter, value: Any) -> Iterator[str]:
    named = isinstance(parameter, click.Option)
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if named:
            yield parameter.opts[-1] if one is not False else parameter.secondary_opts[-1]
        if not isinstance(one, bool):
            yield str(one)
