"""The three kinds of a workspace, made together: what a manager needs to prepare files, facts and tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from preloader.ports import Provider
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.facts import FactProvider
from preloader.workspace.files import SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider


class WorkspaceProviders:
    """The providers of one workspace.

    Args:
        root: The workspace, or what of it may be looked at.
        tools: The calls that may run ahead; the built-in tools under their own names unless given.

    Attributes:
        confined: Which paths may be looked at.
        files: Of the kind ``file``.
        facts: Of the kind ``fact``.
        tools: Of the kind ``tool``.

    Raises:
        ConfigurationError: The root is no directory, or no place for a workspace.
    """

    def __init__(self, root: Path | str | Confined, tools: ToolCatalogue | None = None) -> None:
        self.confined = root if isinstance(root, Confined) else Confined(root)
        sources = SourceFiles(self.confined)
        self.files = WorkspaceFiles(self.confined)
        self.facts = FactProvider(sources)
        self.tools = ToolProvider(tools or ToolCatalogue.builtin(), sources)

    @property
    def by_kind(self) -> Mapping[str, Provider]:
        """What a `PreloadManager` takes, beside the providers of other kinds."""
        return {"file": self.files, "fact": self.facts, "tool": self.tools}

    def file_key(self, path: str) -> str:
        """Return the key of a file, equal for every spelling of its path.

        Raises:
            RefusedPathError: It may not be looked at.
        """
        return f"file:{self.confined.check(path)}"
