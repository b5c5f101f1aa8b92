"""Whether what stands in quotes is one path that holds spaces, or words of which some are paths."""

from __future__ import annotations

import re

from preloader.workspace.file_names import may_be_file_name
from preloader.workspace.words import as_path

MOST_WORDS = 8
_PLACE = re.compile(r":([0-9]{1,7})(?::([0-9]{1,7}))?$")
_NEVER_IN_PATHS = re.compile(r"[|<>;=*?\"'`:,{}]|&&|\s{2}|\s-")
_VERBS = (
    "add and at black bun cargo cat cd check chmod code commit cp create curl delete diff docker edit eslint for from "
    "git go grep head import in less ls make mkdir mv mypy new nl node npm npx open or pip pnpm prettier pytest "
    "python python3 read require rg rm ruff run sed see sh source stat tail test the to touch tsc uv use via view vim "
    "wc with write yarn"
)
_COMMANDS = frozenset(_VERBS.split())


def spaced_path(text: str) -> tuple[str, int | None, int | None] | None:
    r"""Return the path that the whole of ``text`` is, with its line and column, or ``None``.

    A path that holds spaces ends in an extension. In doubt it is none: unless a directory's separator stands in the
    first word, there are four words at most, and the first is no verb of a shell or of prose. ``my docs/notes.md`` and
    ``C:\My Files\a.py`` are such, ``cat notes.md`` and ``edit src/a.py`` are not.
    """
    place = _PLACE.search(text)
    path = as_path(text[: place.start()] if place else text)
    drive, path = (path[:2], path[2:]) if path[1:3] == ":/" else ("", path)
    words = path.split(" ")
    if len(words) > MOST_WORDS or not may_be_file_name(path.rpartition("/")[2]) or _NEVER_IN_PATHS.search(path):
        return None
    if any(may_be_file_name(word.rpartition("/")[2]) for word in words[:-1]):
        return None
    if "/" not in words[0] and (len(words) > 4 or words[0].lower() in _COMMANDS):
        return None
    line, column = place.groups() if place else (None, None)
    return drive + path, int(line) if line else None, int(column) if column else None
