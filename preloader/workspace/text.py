"""In which encoding a file is written, and whether it is text at all."""

from __future__ import annotations

import codecs
import re

SNIFFED_BYTES = 8_192
FALLBACK = "latin-1"  # every byte is some character of it

_MARKS = (  # UTF-32 before UTF-16, whose mark begins like it
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"coding[:=][ \t]*([-\w.]{1,40})|encoding=[\"']([-\w.]{1,40})[\"']|charset=[\"']?([-\w.]{1,40})"
)
_TRUSTED = re.compile(  # no codec that is slow on purpose or only looks like text, such as unicode_escape or idna
    r"(iso8859-\d+|cp\d+|koi8-\w+|mac-\w+|gb2312|gbk|gb18030|big5\w*|euc_\w+|shift_jis\w*|johab|tis-620|ascii|utf-8)"
)


def is_binary(head: bytes) -> bool:
    """Return whether a file that begins so is no text: it holds a NUL, and no mark of an encoding that would."""
    return b"\0" in head and _marked(head) is None


def encoding_of(data: bytes, *, whole: bool) -> str:
    """Return the encoding of a text by its mark, what it declares, UTF-8 if it is that, else Latin-1.

    Args:
        data: The text, or its beginning.
        whole: Whether that is all, or a character may be cut in two at its end.
    """
    marked = _marked(data)
    if marked is not None:
        return marked
    declared = _declared(data)
    if declared is not None and _decodes(data, declared, whole=whole):
        return declared
    return "utf-8" if _decodes(data, "utf-8", whole=whole) else FALLBACK


def decoded(data: bytes, encoding: str, *, whole: bool = True) -> str:
    """Return the text; what cannot be read becomes U+FFFD, and a character cut at the end of a part is left out."""
    return codecs.getincrementaldecoder(encoding)("replace").decode(data, final=whole)


def _marked(data: bytes) -> str | None:
    return next((name for mark, name in _MARKS if data.startswith(mark)), None)


def _declared(data: bytes) -> str | None:
    """Return what the first two lines (PEP 263, XML) or the head of a page declare, where it is an encoding."""
    first_lines = b"\n".join(data[:1_024].split(b"\n", 2)[:2])
    found = _DECLARED.search(first_lines)
    if found is None and data[:1_024].lstrip()[:1] == b"<":
        found = _DECLARED.search(data[:1_024])
    if found is None:
        return None
    try:
        name = codecs.lookup(next(filter(None, found.groups())).decode("ascii")).name
    except (LookupError, UnicodeDecodeError):
        return None
    return name if _TRUSTED.fullmatch(name) else None


def _decodes(data: bytes, encoding: str, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(data, final=whole)
    except UnicodeError:
        return False
    return True
