"""What one word names: a path with or without its place, a pattern, a module, a symbol.

A word holds no space and no quote and is of bounded length, so that whatever is done to it is bounded too. The patterns
never go back over what they matched (possessive quantifiers), which makes them linear also on words made to trap them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from preloader.workspace.file_names import EXTENSIONS, NAMES, is_file_name, may_be_file_name, may_hold_file_name
from preloader.workspace.mentions import Form, Kind

MAX_PATH = 512
"""Characters; what is longer is no path that anyone reads."""


class Named(msgspec.Struct, gc=False):
    """What a piece of text names; see `preloader.workspace.mentions.Mention`.

    Mutable, because it is found in a piece of a piece: each who looked at one moves it to where that begins.
    """

    kind: Kind
    text: str
    form: Form
    offset: int
    line: int | None = None
    column: int | None = None


def moved(found: list[Named], by: int) -> list[Named]:
    """Return what was found in a piece that begins at ``by``, with its places in the whole."""
    for one in found:
        one.offset += by
    return found


_NUMBER = r"([0-9]{1,7})(?![0-9])"
_RUN = re.compile(
    r"((?:(?<![\w/])[A-Za-z]:(?=[\\/]))?"  # a drive
    r"(?:[\w@+~%$.#/\\-]++|\[[\w.@-]{1,64}\](?=[/.\w\\])|\([\w-]{1,64}\)(?=[/\\]))++)"  # [slug], (group)
    rf"(?::{_NUMBER}(?:[:,]{_NUMBER})?|\({_NUMBER}(?:,{_NUMBER})?\))?+"
)
_PLAIN = re.compile(  # what `_of_runs` finds in most words, at a third of the cost
    r"(?!-)(/?(?:[\w-]++/)*+[\w-]++(?:\.\w++)*?\.([A-Za-z][A-Za-z0-9]{0,9}))"
    r"(?::([0-9]{1,7})(?::([0-9]{1,7}))?)?[.,;)\]]{0,3}"
)
_MAY_BE_PATH = re.compile(r"[/\\]|\.[^\W\d]")
_BEGINS_WITH_DOT = re.compile(r"(?<!\w)\.|:[0-9]+\.")  # a position ends the name before it
_GLOB_RUN = re.compile(r"[\w@+~$./*?!\[\]{},-]++")
_GLOB = re.compile(r"(?:^|[/.}\]])\*|\*(?:[/.{\[]|$)")
_ANSI = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]?")
_ANCHOR = re.compile(r"#L([0-9]{1,7})")
_GREP_CONTEXT = re.compile(r"([^:]*?\.[A-Za-z][A-Za-z0-9]{0,9})-([0-9]{1,7})-")
_DOTTED = re.compile(r"[A-Za-z_]\w{0,63}+(?:\.[A-Za-z_]\w{0,63}){1,12}+")
_COLONS = re.compile(r"\b[A-Za-z_]\w{0,63}+(?:::[A-Za-z_]\w{0,63}){1,12}+")
_SYMBOL = re.compile(r"([A-Za-z_$][\w$]{2,63}(?:(?:\.|::|#|->)[A-Za-z_$][\w$]{0,63}){0,4}+)(?:\(|$)")
_NUMBERS_ONLY = re.compile(r"[\W\d_]*+")
_ESCAPE = re.compile(r"\\+[nrtbf]?")
_IMPORTS = ("import ", "from ", "module ", "package ", " -m ", "use ")
_NO_MODULES = frozenset(("self", "this", "cls", "super"))


def of_word(word: str, form: Form, before: str = "") -> list[Named]:
    """Return what ``word`` names, in order.

    Args:
        word: Without white space.
        form: How it stands in the text.
        before: What stands right before it, at least 8 characters where there are as many.
    """
    if (plain := _PLAIN.fullmatch(word)) and (one := _of_plain(plain, form)):
        return [one]
    if "\x1b" in word:
        return _without_colours(word, form)
    if "://" in word or word.startswith("git@"):
        return _of_url(word, form)
    if "*" in word and (found := _globs(word, form)):
        return found
    if "/" in word or "\\" in word or may_hold_file_name(word) or (form == "code" and _BEGINS_WITH_DOT.search(word)):
        return _of_runs(word, form) or _identifiers(word, form, before)
    return _identifiers(word, form, before)


def of_value(text: str) -> Named | None:
    """Return the path that the whole of a call's path argument is; it may hold spaces, and have no extension."""
    path = _posix(text.strip())
    if not path or len(path) > MAX_PATH or "\n" in path or "://" in text:
        return None
    return Named("glob" if "*" in path else "path", path, "argument", 0)


def as_path(text: str) -> str:
    """Return a path with forward slashes, without ``./`` before it or dots and colons after it."""
    return _posix(text.rstrip(".:") if text.strip(".") else text)


def _posix(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\\\", "\\").replace("\\", "/")
    if "//" in text:
        text = re.sub("/{2,}", "/", text)
    while text.startswith("./"):
        text = text[2:]
    return text


def _without_colours(word: str, form: Form) -> list[Named]:
    found, begin = [], 0
    for match in [*_ANSI.finditer(word), None]:
        end = match.start() if match else len(word)
        plain = word[begin:end].replace("\x1b", " ").strip()
        found += moved(of_word(plain, form), begin)
        begin = match.end() if match else end
    return found


def _of_url(word: str, form: Form) -> list[Named]:
    """Return the file behind a ``file:`` or bundler's URL, or behind a forge's page of a file."""
    scheme, _, rest = word.partition("://")
    if scheme.endswith(("file", "webpack-internal", "webpack")):
        local = rest if rest.startswith("/") else "/" + rest.partition("/")[2]
        local = local[1:] if re.match(r"/(?:\./|[A-Za-z]:)", local) else local
    elif "/blob/" in rest:
        local = rest.partition("/blob/")[2].partition("/")[2]
    else:
        return []
    return moved(_of_runs(local, form), len(word) - len(local))


def _globs(word: str, form: Form) -> list[Named]:
    found = []
    for match in _GLOB_RUN.finditer(word):
        text = match[0].rstrip(",.:")
        core = text.strip("*")
        if "*" not in core and text.startswith("*") and text.endswith("*"):
            continue  # emphasis of Markdown
        is_pattern = "*" in text and ("/" in text or "." in text) and _GLOB.search(text)
        if is_pattern and any(map(str.isalnum, core)) and len(text) <= MAX_PATH:
            found.append(Named("glob", _posix(text), form, match.start()))
    return found


def _of_plain(match: re.Match[str], form: Form) -> Named | None:
    path, extension, line, column = match.groups()
    if len(path) > MAX_PATH or ("/" not in path and extension.lower() not in EXTENSIONS):
        return None
    return Named("path", path, form, 0, int(line) if line else None, int(column) if column else None)


def _of_runs(word: str, form: Form) -> list[Named]:
    found: list[Named] = []
    for match in _RUN.finditer(word):
        run = match[1]
        if "\\" in run and _has_escapes(run):
            pieces = ((as_path(piece), at) for piece, at in _unescaped(run))
            found += [Named("path", path, form, match.start() + at) for path, at in pieces if _is_path(path, form)]
        elif (_MAY_BE_PATH.search(run) or run in NAMES) and (one := _of_run(match, form)):
            found.append(one)
    return found


def _of_run(match: re.Match[str], form: Form) -> Named | None:
    text, line, column, other_line, other_column = match.groups()
    begin = match.start()
    line, column = line or other_line, column or other_column
    if "#" in text and (anchor := _ANCHOR.search(text)):
        text, line = text[: anchor.start()], anchor[1]
    elif "-" in text and line is None and (context := _GREP_CONTEXT.match(text)):
        text, line = context.groups()
    if text.startswith("@") and not text.startswith("@/") and is_file_name(text.rpartition("/")[2]):
        text, begin = text[1:], begin + 1  # how users name a file to their agent
    path = as_path(text)
    if not (_is_path(path, form) or _is_import(text, form)):
        return None
    if "/" not in path and line is None and match.string[match.end() : match.end() + 1] == "(":
        return None  # a call of a member
    return Named("path", path, form, begin, int(line) if line else None, int(column) if column else None)


def _has_escapes(text: str) -> bool:
    """Return whether backslashes in ``text`` escape something, rather than divide directories."""
    plain = text.replace("\\/", "/")
    if "\\" not in plain or "/" in plain:
        return True
    first, *rest = plain.split("\\")
    return (not first and rest[0][:1] in "nrtbf") or any(is_file_name(part) for part in (first, *rest[:-1]))


def _unescaped(text: str) -> Iterator[tuple[str, int]]:
    text = text.replace("\\/", "/")
    begin = 0
    for match in _ESCAPE.finditer(text):
        yield text[begin : match.start()], begin
        begin = match.end()
    yield text[begin:], begin


def _is_path(path: str, form: Form) -> bool:
    if len(path) > MAX_PATH or path.startswith("-"):
        return False
    if "/" not in path:
        return is_file_name(path) or (form == "code" and path.startswith(".") and may_be_file_name(path))
    if _NUMBERS_ONLY.fullmatch(path) and path.strip("./"):
        return False
    directory, _, name = path.rpartition("/")
    if may_be_file_name(name):
        return True
    is_rooted = path.startswith(("/", "../", "~/")) or not name
    return bool(directory.strip("./")) and (is_rooted or form != "bare" or directory.count("/") > 0)


def _is_import(text: str, form: Form) -> bool:
    """Return whether a quoted word is a module beside the one that imports it, whose extension is left away."""
    return form == "quoted" and text.startswith("./") and any(map(str.isalnum, text))


def _identifiers(word: str, form: Form, before: str) -> list[Named]:
    """Return dotted modules, and what names a part of the code."""
    if form == "code" and (symbol := _SYMBOL.match(word)):
        return [Named(_kind_of_dotted(symbol[1], before, code=True), symbol[1], form, 0)]
    if "::" not in word and "." not in word:
        return []
    found = []
    has_colons = "::" in word
    for match in _COLONS.finditer(word) if has_colons else _DOTTED.finditer(word):
        text = match[0]
        first, *rest = text.split("::" if has_colons else ".")
        if first in _NO_MODULES or (not has_colons and min(map(len, (first, *rest))) < 2):
            continue
        if has_colons or len(rest) > 1 or first[0].isupper() or before.endswith(_IMPORTS):
            found.append(Named(_kind_of_dotted(text, before, code=False), text, form, match.start()))
    return found


def _kind_of_dotted(text: str, before: str, *, code: bool) -> Kind:
    if "::" in text:
        return "module" if text.startswith(("crate::", "super::", "self::")) or text.count("::") > 1 else "symbol"
    first = text.partition(".")[0]
    is_dotted = _DOTTED.fullmatch(text) is not None
    if not is_dotted or first in _NO_MODULES or not first.islower():
        return "symbol"
    return "module" if before.endswith(_IMPORTS) or not code or text.islower() else "symbol"
