"""The histories that a user has at home, without being asked where."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from preloader.history.bash import BashReader
from preloader.history.claude_code import ClaudeCodeReader
from preloader.history.codex import CodexReader
from preloader.history.fish import FishReader
from preloader.history.reader import Reader
from preloader.history.zsh import ZshReader


def discover_mine(home: Path | None = None, environment: Mapping[str, str] | None = None) -> list[tuple[Reader, Path]]:
    """Return the user's own transcripts, then shell histories, each with its reader; empty files are left out.

    Only these places are looked at: ``projects`` in ``$CLAUDE_CONFIG_DIR`` (``~/.claude``), ``sessions`` and
    ``archived_sessions`` in ``$CODEX_HOME`` (``~/.codex``), and the default history files of zsh, bash and fish.

    Args:
        home: The home directory; the user's own by default.
        environment: Environment variables; the process's by default.
    """
    home = home or Path.home()
    environment = os.environ if environment is None else environment
    return [*_transcripts(home, environment), *_shells(home, environment)]


def _transcripts(home: Path, environment: Mapping[str, str]) -> Iterator[tuple[Reader, Path]]:
    claude = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    codex = Path(environment.get("CODEX_HOME") or home / ".codex")
    yield from _detected(ClaudeCodeReader(), claude / "projects", "*.jsonl")
    yield from _detected(CodexReader(), codex / "sessions", "rollout-*.jsonl")
    yield from _detected(CodexReader(), codex / "archived_sessions", "rollout-*.jsonl")


def _detected(reader: Reader, folder: Path, pattern: str) -> Iterator[tuple[Reader, Path]]:
    for path in sorted(folder.rglob(pattern)):
        if path.is_file() and reader.detects(path):
            yield reader, path


def _shells(home: Path, environment: Mapping[str, str]) -> Iterator[tuple[Reader, Path]]:
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    zsh = Path(environment.get("ZDOTDIR") or home) / ".zsh_history"
    places: list[tuple[Reader, Path]] = [
        (ZshReader(), zsh),
        (BashReader(), home / ".bash_history"),
        (FishReader(), data / "fish" / "fish_history"),
    ]
    for reader, path in places:
        if path.is_file() and path.stat().st_size and os.access(path, os.R_OK):
            yield reader, path
