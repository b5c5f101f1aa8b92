"""The words of a session that name things: paths, identifiers of the code, and plain words.

The analyser of streams (`preloader.workspace.stream`) finds mentions as they arrive. What is here is coarser, to
count in whole items: how often a path stands in an output, in which place, with line numbers or without.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_TOKEN = re.compile(r"[A-Za-z0-9_.@+\-\[\]~/]+(?::\d+)?")
_EXTENSIONS = (
    "go ts tsx js jsx mjs cjs py rs java json jsonl yml yaml toml md mdx sh bash sql css scss html svg png txt lock "
    "mod sum cfg ini env example local conf rb c h cc cpp hpp swift kt proto tmpl xml csv plist template hcl tf "
    "gitignore"
)
_EXTENSION = re.compile(rf"\.(?:{'|'.join(_EXTENSIONS.split())})$", re.IGNORECASE)
_PLAIN = frozenset(("Makefile", "Dockerfile", "LICENSE", "justfile", "Procfile", ".env", ".npmrc", ".dockerignore"))
_MAX_TOKEN = 200
_NAME = re.compile(r"[A-Za-z_]\w*")
_COMPOUND = re.compile(r"[a-z][A-Z]|_[a-z]")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]+")
_HUMP = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_MAX_SCANNED = 65_536


class Seen(msgspec.Struct, gc=False):
    """How a path stands in one item.

    Attributes:
        times: How often.
        numbered: Whether with a line number.
    """

    times: int = 1
    numbered: bool = False


def is_file(path: str) -> bool:
    """Return whether a path looks like a file's, not a directory's."""
    name = path.rsplit("/", 1)[-1]
    return name in _PLAIN or _EXTENSION.search(name) is not None


def path_tokens(text: str) -> dict[str, Seen]:
    """Return what looks like a path in ``text``, in order of first appearance."""
    found: dict[str, Seen] = {}
    for match in _TOKEN.finditer(text, 0, _MAX_SCANNED):
        token, _, number = match.group().partition(":")
        token = token.rstrip("./-+")
        if len(token) < 3 or len(token) > _MAX_TOKEN or "//" in token or ("/" not in token and not is_file(token)):
            continue
        seen = found.get(token)
        if seen is None:
            found[token] = Seen(1, bool(number))
        else:
            seen.times += 1
            seen.numbered |= bool(number)
    return found


def leading_path(line: str) -> tuple[str, str]:
    """Return the file that a line of a search begins with, and the rest of the line; no file if there is none."""
    line = line.lstrip()
    match = _TOKEN.match(line)
    path = match.group().partition(":")[0] if match else ""
    return (path, line[match.end() :]) if match and is_file(path) else ("", line)


def identifiers(text: str) -> set[str]:
    """Return the identifiers of the code in ``text``, in lower case: those of several words."""
    names = set(_NAME.findall(text[:_MAX_SCANNED]))
    return {name.lower() for name in names if len(name) <= _MAX_TOKEN and _COMPOUND.search(name)}


def words(text: str) -> set[str]:
    """Return the words in ``text`` in lower case, with identifiers taken apart."""
    found = set(_WORD.findall(text[:_MAX_SCANNED]))
    return {part for word in found if len(word) <= _MAX_TOKEN for part in _humps(word)}


@lru_cache(maxsize=16_384)
def _humps(word: str) -> tuple[str, ...]:
    return tuple(hump.lower() for hump in _HUMP.findall(word) if len(hump) > 2)
