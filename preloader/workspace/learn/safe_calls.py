"""Which calls of a coding agent have no side effects, so that they may be run ahead; and what makes two the same.

This is what figures are measured on. What really runs ahead is for the operator's catalogue to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

SAFE_TOOLS = frozenset(("Read", "Grep", "Glob", "LS", "NotebookRead", "LSP", "TaskList", "TaskGet"))
"""Tools that only look."""

SAFE_PROGRAMS = frozenset(
    (
        *("basename", "cat", "cd", "column", "cut", "df", "diff", "dirname", "du", "echo", "egrep", "fgrep"),
        *("find", "grep", "head", "jq", "less", "ls", "nl", "printf", "pwd", "readlink", "realpath", "rg"),
        *("sort", "stat", "tail", "test", "tr", "tree", "true", "wc", "which"),
    )
)
"""Programs that a command of nothing else may run, unless an argument makes them act; none that runs scripts."""

SAFE_GIT = frozenset(
    (
        *("blame", "branch", "cat-file", "check-ignore", "describe", "diff", "diff-tree", "for-each-ref"),
        *("grep", "log", "ls-files", "ls-tree", "merge-base", "name-rev", "remote", "rev-list", "rev-parse"),
        *("shortlog", "show", "show-ref", "status"),
    )
)
"""Commands of git that only look, unless an argument makes them write."""

IGNORED = frozenset(("description", "timeout"))
"""Arguments that do not change what a call does."""

_HARMLESS_REDIRECTION = re.compile(r"\d?>\s*/dev/null|\d>&\d|&>\s*/dev/null")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_EXPANSION = re.compile(r"`|\$\(|<<|<\(")
_SEPARATOR = re.compile(r"&&|\|\||;|\||\n")
_BRANCH_LOOKS = frozenset(
    (
        *("-a", "-r", "-v", "-vv", "--list", "--all", "--show-current", "--contains", "--merged"),
        *("--no-merged",),
    )
)
_REMOTE_LOOKS = frozenset(("-v", "show", "get-url"))
_ACTS: dict[str, tuple[str, ...]] = {
    "find": ("-delete", "-exec", "-ok", "-fprint", "-fls"),
    "git": ("--output", "--ext-diff", "--textconv", "-O", "--open-files-in-pager"),
    "rg": ("--pre", "--hostname-bin"),
    "sort": ("-o", "--output", "--compress-program"),
    "tree": ("-o",),
}
"""How arguments begin that make a program write or run others."""


def is_safe(tool: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a call has no side effects: a tool that looks, or a shell command of such programs only."""
    if tool != "Bash":
        return tool in SAFE_TOOLS
    command = arguments.get("command")
    return isinstance(command, str) and not arguments.get("run_in_background") and is_safe_command(command)


def is_safe_command(command: str) -> bool:
    """Return whether a shell command runs only programs that look, writes to no file, and starts nothing."""
    if _EXPANSION.search(command):
        return False
    plain = _QUOTED.sub("Q", _HARMLESS_REDIRECTION.sub(" ", command))
    parts = [part.split() for part in _SEPARATOR.split(plain)]
    if ">" in plain or any("&" in word for part in parts for word in part):
        return False
    return any(parts) and all(_looks(part) for part in parts if part)


def _looks(words: list[str]) -> bool:
    program, rest = words[0], words[1:]
    if any(word.startswith(_ACTS.get(program, ())) for word in rest):
        return False
    return _git_looks(rest) if program == "git" else program in SAFE_PROGRAMS


def _git_looks(words: list[str]) -> bool:
    while words and words[0].startswith("-"):
        if words[0] == "-c":  # a setting may name a program
            return False
        words = words[2:] if words[0] == "-C" else words[1:]
    if not words or words[0] not in SAFE_GIT:
        return False
    if words[0] == "branch":
        return _BRANCH_LOOKS.issuperset(words[1:])
    return words[0] != "remote" or not words[1:] or words[1] in _REMOTE_LOOKS


def call_key(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return what two calls share that do the same: the tool and its arguments, without descriptions."""
    kept = {name: value for name, value in arguments.items() if name not in IGNORED}
    return f"{tool} {json.dumps(kept, sort_keys=True, ensure_ascii=False)}"


def signature(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return what sort of call it is: the tool; of a shell command its first words, without a change of directory."""
    command = arguments.get("command")
    if tool != "Bash" or not isinstance(command, str):
        return tool
    words = re.sub(r"^\s*cd\s+\S+\s*(?:&&|;)\s*", "", command[:400]).split()
    return " ".join(["Bash", *words[:2]])[:40]
