"""What an agent's stream names: the one type that analysis hands to resolution, ranking and prediction."""

from __future__ import annotations

from typing import Literal

import msgspec

Source = Literal["assistant", "thinking", "user", "tool_call", "tool_output"]
"""Who says it."""

Kind = Literal["path", "glob", "module", "symbol"]
"""What is named: a file or directory, a pattern of such, a dotted module, an identifier of the code."""

Form = Literal["bare", "quoted", "code", "frame", "argument"]
"""How it stands there: as a plain word, in quotes, in backticks, in a stack trace, or as a call's path argument."""

SOURCES: tuple[Source, ...] = ("assistant", "thinking", "user", "tool_call", "tool_output")


class Mention(msgspec.Struct, frozen=True, gc=False):
    """One thing that was named, as it was written: nothing says that it exists, and nothing was looked up.

    Attributes:
        kind: What is named.
        text: The path with forward slashes and without ``./``, line number or scheme; the pattern; the dotted name; or
            the identifier. Outside input: confine it before any file is opened.
        source: Who named it.
        form: How it was written.
        offset: Where it begins, in characters since the stream began; in a call's arguments, since the value began.
        line: The line number that stood with it, from 1.
        column: The column that stood with it, from 1.
        field: In a tool call, the name of the argument that it stands in.
    """

    kind: Kind
    text: str
    source: Source
    form: Form = "bare"
    offset: int = 0
    line: int | None = None
    column: int | None = None
    field: str | None = None
