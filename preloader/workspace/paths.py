"""Paths that a model names: untrusted text in, a path beneath the workspace out, or a refusal that says why.

Three gates, in this order. `Confined.check` looks at the text alone, so that a refused path tells nothing of the disk.
`Confined.open` resolves links and asks again about what they lead to, secret and ignored files included. What is then
opened is that resolved path, directory by directory and without following links
(`preloader.components.confined.open_confined`), so that nothing put there meanwhile is followed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from preloader.checks import shown
from preloader.components.confined import ABSENT, LISTABLE, open_confined
from preloader.errors import ConfigurationError, LoadError, RefusedPathError, UnknownResourceError
from preloader.workspace.globs import Glob
from preloader.workspace.ignore import IgnoreRules
from preloader.workspace.secrets import is_secret, secret_part

MAX_PATH_BYTES = 4_095
MAX_NAME_BYTES = 255
_UNFIT_ROOTS = ("/proc", "/sys", "/dev")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:/|$)|[A-Za-z]:|(?:data|javascript|mailto|urn|ext):", re.IGNORECASE)
_USUAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}|\.[A-Za-z][A-Za-z0-9_.-]{0,100}")  # nothing odd in it
_HERE = PurePosixPath()
_MOST_CHECKED, _LONG = 16_384, 500  # how many paths are remembered, and up to which length
_UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Co", "Cn")


class Confined:
    """The paths of one workspace that may be looked at. All but `check` blocks.

    Args:
        root: The workspace.
        refuse: Globs over paths, matched at any depth where they have no slash, that are refused as secrets are.
        allow: Globs over paths that are served though their name looks secret, such as ``tests/keys/*.pem``.

    Attributes:
        root: The workspace, resolved.

    Raises:
        ConfigurationError: The root is no directory, or no place for a workspace, or a glob is malformed.
    """

    def __init__(self, root: Path | str, *, refuse: Sequence[str] = (), allow: Sequence[str] = ()) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise ConfigurationError(f"root must be a directory, not {str(root)!r}", field="root")
        if self.root == Path("/") or any(self.root.is_relative_to(place) for place in _UNFIT_ROOTS):
            raise ConfigurationError(f"root must be a folder of files to work on, not {str(self.root)!r}", field="root")
        named = Path(os.path.abspath(root))  # noqa: PTH100  # as an agent names it, links and all
        self._roots = (self.root, named) if named.resolve() == self.root else (self.root,)
        self._refuse = _globs(refuse, "refuse")
        self._allow = _globs(allow, "allow")
        self._ignore = IgnoreRules(self.root)
        self._lenient = _ignores_case(self.root)
        self._checked: dict[str, PurePosixPath] = {}  # what was admitted: the same paths are asked about all the time

    def check(self, text: str) -> PurePosixPath:
        """Return the path that a text names, relative to the root, without looking at the disk.

        A path that is absolute and lies beneath the root is taken as relative to it; the root itself is ``.``.

        Raises:
            RefusedPathError: It is malformed, leads out, is secret, or could be taken for something else.
        """
        known = self._checked.get(text) if isinstance(text, str) else None
        if known is not None:
            return known
        path = self._admitted(text)
        if len(text) <= _LONG:
            if len(self._checked) >= _MOST_CHECKED:
                self._checked.clear()
            self._checked[text] = path
        return path

    def open(self, path: PurePosixPath | str) -> int:
        """Open a regular file for reading and return its descriptor, which the caller closes.

        Raises:
            RefusedPathError: It, or what links lead to, may not be looked at.
            UnknownResourceError: There is no such regular file.
            LoadError: It cannot be opened.
        """
        return self._open(path, directory=False)[0]

    def open_directory(self, path: PurePosixPath | str) -> tuple[int, PurePosixPath]:
        """Open a directory for listing; return its descriptor, which the caller closes, and its path without links.

        Raises:
            RefusedPathError: It, or what links lead to, may not be looked at.
            UnknownResourceError: There is no such directory.
            LoadError: It cannot be opened.
        """
        if self.check(str(path)) == _HERE:
            return self._open_root(), _HERE
        return self._open(path, directory=True)

    def resolve(self, text: str) -> PurePosixPath:
        """Return where a path leads: a file or directory that may be looked at, relative to the root, without links.

        Raises:
            RefusedPathError: It, or what links lead to, may not be looked at.
            UnknownResourceError: There is nothing, or neither a regular file nor a directory.
            LoadError: It cannot be looked at.
        """
        path = self.check(text)
        if path == _HERE:
            return path
        try:
            is_directory = (self.root / path).is_dir()
        except OSError as error:
            raise UnknownResourceError(f"there is no file {text!r} beneath {self.root}") from error
        descriptor, real = self._open(path, directory=is_directory)
        os.close(descriptor)
        return real

    def shown(self, directory: PurePosixPath) -> Callable[[str, bool], bool]:
        """Return what says of a name in a directory, and whether it is a directory, if a walk shows it.

        Args:
            directory: Its path without links, as `open_directory` says.
        """
        rules = self._ignore.within(directory)

        def is_shown(name: str, is_directory: bool) -> bool:
            if not _USUAL.fullmatch(name) and (_malformed(name) or name.startswith("-")):
                return False
            if self._refuse and _matched(self._refuse, directory / name):
                return False
            if is_secret(name) and not _matched(self._allow, directory / name):
                return False
            return not rules.ignores(name, is_directory=is_directory)

        return is_shown

    def refuses(self, text: str) -> bool:
        """Return whether a path may not be looked at, as far as that can be said without opening it."""
        try:
            path = self.check(text)
        except RefusedPathError:
            return True
        return self._ignore.ignores(path, is_directory=False)

    def _admitted(self, text: str) -> PurePosixPath:
        if reason := _malformed(text):
            raise RefusedPathError(f"the path {shown(text)} is refused: {reason}")
        path = PurePosixPath(text)
        if path.is_absolute():
            root = next((root for root in self._roots if path.is_relative_to(root)), None)
            if root is None or text.startswith("//"):
                raise RefusedPathError(f"the path {shown(text)} is refused: it leads out of the workspace")
            path = path.relative_to(root)
        if any(part.startswith("-") for part in path.parts):
            raise RefusedPathError(f"the path {shown(text)} is refused: a name with a dash before it may be an option")
        self._check_secret(path, text)
        return path

    def _open(self, path: PurePosixPath | str, *, directory: bool) -> tuple[int, PurePosixPath]:
        """Open what a path leads to, and return where that is, too."""
        checked = real = self.check(str(path))
        self._check_ignored(checked, str(path), directory=directory)

        def admit(found: PurePosixPath) -> None:
            nonlocal real
            real = found
            if found != checked:
                self._check_secret(found, str(path))
                self._check_ignored(found, str(path), directory=directory)
            if self._lenient:
                _check_spelling(self.root, found)

        return open_confined(self.root, str(checked), directory=directory, admit=admit), real

    def _open_root(self) -> int:
        try:
            return os.open(self.root, LISTABLE)
        except OSError as error:
            if error.errno in ABSENT:
                raise UnknownResourceError(f"there is no directory {self.root} any more") from error
            raise LoadError(f"{self.root} cannot be opened: {error.strerror}") from error

    def _check_secret(self, path: PurePosixPath, text: str) -> None:
        name = str(path)
        if _matched(self._refuse, path):
            raise RefusedPathError(f"the path {shown(text)} is refused: the operator excluded {name!r}")
        part = secret_part(path)
        if part is not None and not _matched(self._allow, path):
            raise RefusedPathError(f"the path {shown(text)} is refused: {part!r} may hold secrets")

    def _check_ignored(self, path: PurePosixPath, text: str, *, directory: bool) -> None:
        if self._ignore.ignores(path, is_directory=directory):
            raise RefusedPathError(f"the path {shown(text)} is refused: it is ignored")


def _malformed(text: str) -> str | None:
    """Return why a text is no path here, without looking at the disk."""
    if not isinstance(text, str) or not text or text.isspace():
        return "a path is a text that is not empty"
    try:
        parts = text.encode().split(b"/")
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if sum(map(len, parts)) + len(parts) - 1 > MAX_PATH_BYTES or max(map(len, parts)) > MAX_NAME_BYTES:
        return "it is too long"
    if not (text.isascii() and text.isprintable()) and any(unicodedata.category(char) in _UNSEEN for char in text):
        return "it holds a character that cannot be seen"
    if "\\" in text or _SCHEME.match(text):
        return "it is written as another system's path, or as an address"
    if text.startswith("~"):
        return "it names somebody's home"
    if any(part in ("..", "...") or _is_dots(part) for part in text.split("/")):
        return "it goes up"
    return None


def _is_dots(part: str) -> bool:
    """Return whether a part is two dots in another guise: spaces behind them, or characters that look like dots."""
    plain = unicodedata.normalize("NFKC", part).strip()
    return len(plain) > 1 and set(plain) <= {".", " "}


def _globs(patterns: Sequence[str], field: str) -> tuple[Glob, ...]:
    try:
        return tuple(Glob(pattern) for pattern in patterns)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{field} must be globs over paths: {error}", field=field) from error


def _matched(globs: tuple[Glob, ...], path: PurePosixPath) -> bool:
    return any(glob.matches(str(path) if "/" in glob.pattern else path.name) for glob in globs)


def _ignores_case(root: Path) -> bool:
    """Return whether the root's file system takes names of different case for the same."""
    other = Path(str(root).swapcase())
    try:
        return other != root and other.samefile(root)
    except OSError:
        return False


def _check_spelling(root: Path, path: PurePosixPath) -> None:
    """Refuse names that are not spelled as on the disk: rules on names would be asked about another one."""
    directory = root
    for part in path.parts:
        if part not in os.listdir(directory):  # noqa: PTH208  # names, not paths, are what is asked for
            raise RefusedPathError(f"the path {str(path)!r} is refused: {part!r} is spelled otherwise on the disk")
        directory /= part
