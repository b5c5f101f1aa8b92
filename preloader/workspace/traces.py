"""Stack frames: where each language's traces put the file and the line.

=========== ==========================================================
Python      ``File "app/main.py", line 12, in run``
JavaScript  ``at run (/srv/app/main.js:12:5)``, ``at file:///srv/app/main.mjs:12:5``
Go          a tab, then ``/srv/app/main.go:12 +0x1d``
Rust        ``at ./src/main.rs:12:5``, ``--> src/main.rs:12:5``, ``panicked at src/main.rs:12:5:``
Java        ``at com.acme.Main.run(Main.java:12)``; also Kotlin, Scala and Groovy
=========== ==========================================================
"""

from __future__ import annotations

import re

from preloader.workspace.words import Named, as_path

PYTHON = r'(?<=File )"(?P<python>[^"\n]{1,512}+)", line (?P<python_line>[0-9]{1,7}+)'
"""The quoted part of a Python frame and its line."""

BRACKETED = r"\((?P<bracketed>(?:file:|[/~.]|[A-Za-z]:[\\/])[^()\n\"'`]{2,420}+)\)"
"""What may be the place in a JavaScript frame: the only one whose path may hold spaces without quotes."""

BRACKETED_BEGINS = re.compile(r"\((?:file:|[/~.]|[A-Za-z]:)")
MAX_PYTHON, MAX_BRACKETED = 540, 430
"""After how many characters it is certain that no frame stands there."""

_PLACE = re.compile(r"(?:file://(?=/))?([^:]*+(?::[^:]*+)?):([0-9]{1,7}):([0-9]{1,7})")
_JAVA = re.compile(
    r"(?:[\w.@$-]{0,200}/){0,2}([\w.$]{1,400}+)\(([\w$-]{1,100}\.(?:java|kt|scala|groovy)):([0-9]{1,7})\)"
)
_BEFORE = ("at ", "--> ", "::: ")


def python_frame(path: str, line: str) -> list[Named]:
    """Return the frame's file, unless it is code that has none (``<stdin>``)."""
    return [] if path.startswith("<") else [Named("path", as_path(path), "frame", 0, int(line))]


def bracketed_frame(text: str) -> list[Named]:
    """Return the file, line and column if ``text``, the inside of the brackets, is such."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return []
    return [Named("path", as_path(match[1]), "frame", match.start(1), int(match[2]), int(match[3]))]


def java_frame(word: str) -> Named | None:
    """Return the frame's file with the directories of its package, which is how sources lie on the disk."""
    match = _JAVA.match(word)
    if match is None:
        return None
    package = match[1].split(".")[:-2]
    return Named("path", "/".join([*package, match[2]]), "frame", match.start(1), int(match[3]))


def is_frame(named: Named, word: str, before: str) -> bool:
    """Return whether a path with a line stands in a frame, judged by its word and by what stands before that."""
    if named.column is not None and word.startswith("("):
        return True
    return before.endswith(_BEFORE) or (before.endswith("\t") and named.text.endswith(".go"))
