"""What of a session may be shown to a model: redacted, shortened, and without what secret or foreign files hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from preloader.history.redact import redact_text
from preloader.workspace.paths import Confined
from preloader.workspace.secrets import secret_part

WITHHELD = "<withheld>"

_LOOKED_AT = 4_000  # characters of a text; what is between its two ends is left out before it is redacted
_MOST_WORDS = 2_000
_WORD = re.compile(r"[^\s'\"`=(){}\[\]<>,;:|&*?!$]+")
_HARMLESS = frozenset(("/dev/null", "/"))
_KEY_BLOCK = "PRIVATE KEY"
_BLANK = "\n\n"
_LISTED = ".git"  # of which listings are full, and under whose name nothing is printed


class Discretion:
    """Says what may be shown. Blocks for up to some milliseconds: it belongs off the loop.

    Args:
        confined: Which paths may be looked at.
    """

    def __init__(self, confined: Confined) -> None:
        self._confined = confined
        self._root = f"{confined.root}/"

    def speaks_of_secrets(self, arguments: dict[str, Any]) -> bool:
        """Return whether a call names a path that may not be looked at, or too much to tell."""
        words = enumerate(_words(arguments))
        return any(number >= _MOST_WORDS or self._is_private(word) for number, word in words)

    def words(self, text: str, most: int) -> str:
        """Return what was said, in at most about so many characters: how it begins, and more of how it ends."""
        return _ends(self._plain(text), most // 4, most - most // 4, " ")

    def output(self, text: str, most: int) -> str:
        """Return what a tool gave, in about so many characters, without what stands under the names of secret files."""
        plain = "\n".join(_without_secret_files(self._plain(text).split("\n")))
        return _ends(plain, most // 2, most - most // 2, "\n")

    def _plain(self, text: str) -> str:
        if _KEY_BLOCK in text:
            return WITHHELD
        if len(text) > _LOOKED_AT:
            text = f"{text[: _LOOKED_AT // 2]}\n\n…\n\n{text[-_LOOKED_AT // 2 :].partition(_BLANK)[2]}"
        return redact_text(text.replace(self._root, ""))

    def _is_private(self, word: str) -> bool:
        if word in _HARMLESS or word.startswith("-"):
            return False
        return secret_part(PurePosixPath(word)) is not None or ("/" in word and self._confined.refuses(word))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _WORD.findall(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)


def _without_secret_files(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines, but not those that name a secret file, nor what stands under such a name up to a blank line."""
    is_under = False
    for line in lines:
        secrets = {word for word in _WORD.findall(line) if secret_part(PurePosixPath(word)) is not None}
        is_under = (is_under and bool(line)) or bool(secrets - {_LISTED})
        yield WITHHELD if is_under or secrets else line


def _ends(text: str, head: int, tail: int, separator: str) -> str:
    """Return both ends of a text; the second begins after a separator, so that nothing is shown of a part of it."""
    if len(text) <= head + tail:
        return text
    return f"{text[:head]} … {text[-tail:].partition(separator)[2]}"
