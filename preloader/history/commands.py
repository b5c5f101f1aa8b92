"""Shell command lines reduced to what they run: ``cd web && DEBUG=1 git -C . status -s | head`` is ``git status``."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LOOKED_AT = 4_096  # characters; scripts go on for pages, their head does not
_LONGEST = 80
_WORD = r"""(?:\$\([^()]*\)|[^\s;&|'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+"""
_TOKEN = re.compile(rf"(?P<comment>(?<!\S)\#[^\n]*)|(?P<end>&&|\|\|?|[;&\n])|(?P<word>{_WORD})|['\"\\]", re.DOTALL)
_NAME = re.compile(r"""(?!-)[^\s\x00-\x1f\x7f"'`$(){}<>*?!=;|&\\#]+""")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_WRAPPERS = frozenset({"sudo", "env", "time", "nohup", "builtin"})
_GOES_ELSEWHERE = frozenset({"cd", "pushd", "popd"})
_WITH_SUBCOMMAND = frozenset(
    """apt apt-get aws az brew bun cargo conda deno dnf docker flutter gcloud gh git go gradle helm just kubectl make
    mise mvn npm npx nix pip pip3 pipx pnpm podman poetry rails rake rustup snap svn systemctl terraform tmux uv uvx
    yarn""".split()  # noqa: SIM905 - a list of forty strings would fill the page
)
_TAKES_VALUE = frozenset(
    """-C -c -f -F -H -n -R -w --context --cwd --dir --directory --file --filter --git-dir --namespace --prefix
    --project --repo --work-tree --workspace""".split()  # noqa: SIM905
)


def command_head(command: str) -> str | None:
    """Return what a command line runs first: a program, with its sub-command where it is one that has them.

    Comments, changes of directory, assignments and wrappers such as ``sudo`` are passed over. Nothing is expanded or
    executed; unbalanced quotes are taken as they come.

    Returns:
        At most 80 characters, or ``None`` where the line runs nothing.
    """
    passed_over = None
    for words in _simple_commands(command[:_LOOKED_AT].replace("\\\n", " ")):
        head = _head(words)
        if head and head not in _GOES_ELSEWHERE:
            return head[:_LONGEST]
        passed_over = passed_over or head
    return passed_over


def _simple_commands(command: str) -> Iterator[list[str]]:
    words: list[str] = []
    for token in _TOKEN.finditer(command):
        if token["end"]:
            yield words
            words = []
        elif token["word"]:
            words.append(token["word"])
    yield words


def _head(words: list[str]) -> str | None:
    rest = iter(words)
    program = next((word for word in rest if not _ASSIGNMENT.match(word) and word not in _WRAPPERS), None)
    if program is None:
        return None
    name = program.strip("'\"").rpartition("/")[2]
    if not _NAME.fullmatch(name):
        return None
    subcommand = _first_argument(rest) if name in _WITH_SUBCOMMAND else None
    return f"{name} {subcommand}" if subcommand else name


def _first_argument(words: Iterator[str]) -> str | None:
    for word in words:
        if word in _TAKES_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return None if ">" in word else word.strip("'\"") or None
    return None
