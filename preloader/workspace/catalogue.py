"""The operator's catalogue: the tools whose calls may run ahead of a request, and what their arguments may be.

```toml
[tools.Read]                      # what the agent calls it
builtin = "read_file"
rename = { file_path = "path" }   # what the agent calls its arguments

[tools.lint]
command = ["ruff", "check", "{path}"]
side_effects = "reads"
cost_s = 0.5
reads = ["**/*.py", "pyproject.toml"]
[tools.lint.arguments.path]
type = "path"
required = true
```

What is not listed never runs ahead, whatever a server or a model says of it; nor does what is listed with side effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from preloader.checks import Rule, check, did_you_mean, is_name, is_number, shown
from preloader.errors import ConfigurationError, RefusedCallError
from preloader.toml import TomlDocument
from preloader.workspace.arguments import Argument
from preloader.workspace.builtin_tools import BUILTIN
from preloader.workspace.commands import CommandTool
from preloader.workspace.reading import Reading

SideEffects = Literal["none", "reads", "writes", "network"]
AHEAD: tuple[SideEffects, ...] = ("none", "reads")
"""The classes of side effects of which calls may run ahead."""

Run = Callable[[Reading, Mapping[str, Any]], Any]
"""What makes a tool's result: a blocking function that looks at the workspace through the `Reading` alone."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool on the catalogue.

    Attributes:
        name: What the agent calls it.
        run: What makes its result.
        arguments: What each argument may be, by the agent's name for it.
        side_effects: What a call does: ``none`` (its result hangs on its arguments alone), ``reads`` (and on the
            workspace), ``writes``, or ``network``.
        cost_s: How many seconds a call is expected to take.
        timeout_s: After how long it is given up.
    """

    name: str
    run: Run
    arguments: dict[str, Argument] = {}
    side_effects: SideEffects = "reads"
    cost_s: float = 0.1
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        check(self, _RULES)


_SECONDS: Rule = (lambda value: is_number(value) and value > 0, "a number of seconds above 0")
_RULES: dict[str, Rule] = {
    "name": (lambda value: is_name(value) and value.isprintable() and " " not in value, "a name without spaces"),
    "cost_s": _SECONDS,
    "timeout_s": _SECONDS,
    "side_effects": (lambda value: value in (*AHEAD, "writes", "network"), "none, reads, writes or network"),
}


class ToolCatalogue:
    """The tools that an operator listed.

    Args:
        tools: The first of them.

    Raises:
        ConfigurationError: Two have the same name.
    """

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    @classmethod
    def builtin(cls) -> ToolCatalogue:
        """Return a catalogue of the tools that come with this package, under their own names."""
        return cls(builtin_tool(name) for name in BUILTIN)

    @classmethod
    def from_toml(cls, path: Path | str) -> ToolCatalogue:
        """Read a catalogue.

        Raises:
            ConfigurationError: The file cannot be read, or something in it is wrong; file, line and field are named.
        """
        document = TomlDocument.read(path)
        unknown = next((name for name in document.data if name != "tools"), None)
        if unknown is not None:
            raise document.error((unknown,), "is unknown; a catalogue has tables [tools.NAME]")
        tables = document.data.get("tools")
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise document.error(("tools",) if "tools" in document.data else (), "must have tables [tools.NAME]")
        catalogue = cls()
        for name in tables:
            listed = document.convert(("tools", name), Listed)
            place = ("tools", name, "arguments")
            arguments = {one: document.convert((*place, one), Argument) for one in listed.arguments}
            try:
                catalogue.add(listed.tool(name, arguments))
            except ConfigurationError as error:
                raise document.error(("tools", name, *filter(None, [error.field])), str(error)) from error
        return catalogue

    def add(self, tool: Tool) -> None:
        """List a tool.

        Raises:
            ConfigurationError: One of that name is listed.
        """
        if tool.name in self._tools:
            raise ConfigurationError(f"a tool {tool.name!r} is listed already", field="name")
        self._tools[tool.name] = tool

    def __iter__(self) -> Any:
        return iter(self._tools.values())

    def ahead(self, name: str) -> Tool:
        """Return a tool whose calls may run ahead.

        Raises:
            RefusedCallError: It is not listed, or its calls have side effects.
        """
        tool = self._tools.get(name)
        if tool is None:
            known = did_you_mean(str(name), tuple(self._tools))
            raise RefusedCallError(f"no tool {shown(name)} is on the operator's catalogue; {known}")
        if tool.side_effects not in AHEAD:
            raise RefusedCallError(f"calls of {name!r} never run ahead: their side effects are {tool.side_effects!r}")
        return tool


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a catalogue's file: a built-in tool, or a command."""

    builtin: str | None = None
    command: list[str] | None = None
    rename: dict[str, str] = {}
    ignored: tuple[str, ...] = ()
    arguments: dict[str, dict[str, Any]] = {}
    side_effects: SideEffects = "writes"
    reads: tuple[str, ...] = ()
    cost_s: float | None = None
    timeout_s: float = 10.0

    def tool(self, name: str, arguments: Mapping[str, Argument]) -> Tool:
        """Return the tool that the table describes, its arguments' tables converted.

        Raises:
            ConfigurationError: It is neither or both, or something in it is wrong.
        """
        if (self.builtin is None) == (self.command is None):
            raise ConfigurationError("must have either builtin or command")
        if self.builtin is not None:
            return self._of_builtin(name, self.builtin)
        schema = {**arguments, **{one: Argument(type="string", ignored=True) for one in self.ignored}}
        run = CommandTool(self.command or [], arguments, self.reads, pure=self.side_effects == "none")
        cost_s = 0.5 if self.cost_s is None else self.cost_s
        return Tool(
            name=name,
            run=run,
            arguments=schema,
            side_effects=self.side_effects,
            cost_s=cost_s,
            timeout_s=self.timeout_s,
        )

    def _of_builtin(self, name: str, builtin: str) -> Tool:
        foreign = next((field for field in ("arguments", "reads") if getattr(self, field)), None)
        if foreign is not None:
            raise ConfigurationError("is the built-in tool's own: leave it out", field=foreign)
        tool = builtin_tool(builtin, name, self.rename, self.ignored)
        cost_s = tool.cost_s if self.cost_s is None else self.cost_s
        return msgspec.structs.replace(tool, cost_s=cost_s, timeout_s=self.timeout_s)


def builtin_tool(
    builtin: str, name: str | None = None, rename: Mapping[str, str] | None = None, ignored: Iterable[str] = ()
) -> Tool:
    """Return a tool that comes with this package.

    Args:
        builtin: Which.
        name: What the agent calls it; the same unless given.
        rename: What the built-in calls an argument, by what the agent calls it.
        ignored: Arguments of the agent's that say nothing of what the call does.

    Raises:
        ConfigurationError: There is no such tool, or no such argument.
    """
    if builtin not in BUILTIN:
        raise ConfigurationError(
            f"builtin must be one that there is, not {builtin!r}; {did_you_mean(builtin, tuple(BUILTIN))}",
            field="builtin",
        )
    run, schema, cost_s = BUILTIN[builtin]
    own = dict(rename or {})
    wrong = next((one for one in own.values() if one not in schema), None)
    if wrong is not None:
        raise ConfigurationError(
            f"{builtin} has no argument {wrong!r}; {did_you_mean(wrong, tuple(schema))}", field="rename"
        )
    theirs = {inner: outer for outer, inner in own.items()}
    arguments = {theirs.get(inner, inner): argument for inner, argument in schema.items()}
    arguments |= {one: Argument(type="string", ignored=True) for one in ignored}

    def renamed(reading: Reading, told: Mapping[str, Any]) -> Any:
        return run(reading, {own.get(outer, outer): value for outer, value in told.items()})

    return Tool(name=name or builtin, run=renamed, arguments=arguments, side_effects="reads", cost_s=cost_s)
