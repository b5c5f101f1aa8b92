"""Configuration files that say what imports mean: ``tsconfig.json``, ``package.json``, ``go.mod``, ``Cargo.toml``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from posixpath import basename
from typing import Any

MAX_BYTES = 1 << 20
CONFIGURING = (".json", ".mod", ".toml")
"""How files end that may say what imports mean."""

# A JSON file with comments, as TypeScript allows: strings are matched so that what is in them stays.
_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*+"?|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING_COMMA = re.compile(r'"(?:[^"\\]|\\.)*+"?|,(?=\s*+[}\]])', re.DOTALL)
_GO_MODULE = re.compile(r'^\s*module\s+"?([^\s"]{1,512})', re.MULTILINE)
_GO_REPLACE = re.compile(r'^\s*(?:replace\s+)?([^\s"]{1,512})(?:\s+v\S+)?\s+=>\s+(\.\.?/[^\s"]{0,512})', re.MULTILINE)
_FAMILIES = {"package.json": "javascript", "go.mod": "go", "Cargo.toml": "rust"}


class Configurations:
    """The configuration files of a workspace, each read when it is first asked for.

    Args:
        read: What returns a file's bytes, at most so many, by its path; ``None`` where it cannot be read.
    """

    def __init__(self, read: Callable[[str, int], bytes | None]) -> None:
        self._read = read
        self._loaded: dict[str, dict[str, Any]] = {}
        self._projects: dict[str, dict[str, list[str]]] = {}  # file name → project's name → directories

    def load(self, path: str) -> dict[str, Any]:
        """Return what a file says, empty where it is missing or malformed: that is its owner's concern."""
        if path not in self._loaded:
            data = self._read(path, MAX_BYTES)
            self._loaded[path] = _parsed(path, data.decode(errors="replace")) if data is not None else {}
        return self._loaded[path]

    def projects(self, file_name: str, paths: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """Return the directories of the projects of each name.

        Args:
            file_name: What the files are called that name them.
            paths: Where there may be such files.
        """
        if file_name not in self._projects:
            named = self._projects[file_name] = {}
            for path in sorted(paths):
                directory, _, name = path.rpartition("/")
                if name == file_name and (project := _project_name(self.load(path))):
                    named.setdefault(project, []).append(directory)
        return self._projects[file_name]

    def changed(self, path: str) -> set[str]:
        """Forget a file that changed, came or went; return the names of the questions that it answers."""
        self._projects.pop(basename(path), None)
        known = self._loaded.pop(path, None) is not None
        return {asked_configuration(path)} if known or _family(path) else set()


def asked_configuration(path: str) -> str:
    """Return the name under which questions to a configuration file are noted: one for all of a language."""
    return f"configuration of {_family(path) or 'javascript'}"  # whatever a tsconfig.json extends is called as it likes


def _family(path: str) -> str:
    name = basename(path)
    if name.startswith(("tsconfig", "jsconfig")) and name.endswith(".json"):
        return "javascript"
    return _FAMILIES.get(name, "")


def _project_name(content: dict[str, Any]) -> str:
    """Return a project's name: that which others import it by."""
    tables = [content.get("lib"), content.get("package"), content]  # Cargo.toml's, then package.json's and go.mod's
    for table in tables:
        name = (table.get("name") or table.get("module")) if isinstance(table, dict) else None
        if isinstance(name, str):
            return name if table is content else name.replace("-", "_")
    return ""


def _parsed(path: str, text: str) -> dict[str, Any]:
    try:
        if path.endswith(".mod"):
            return _go_module(text)
        content = tomllib.loads(text) if path.endswith(".toml") else json.loads(_plain_json(text))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _go_module(text: str) -> dict[str, Any]:
    module = _GO_MODULE.search(text)
    return {"module": module[1] if module else "", "replace": dict(_GO_REPLACE.findall(text))}


def _plain_json(text: str) -> str:
    def keep(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else ""

    return _TRAILING_COMMA.sub(keep, _COMMENT.sub(keep, text.removeprefix("\ufeff")))
