"""Globs in linear time: whatever the pattern, matching takes at most its length times the path's.

A pattern is translated to a regular expression that never goes back: the text up to a star's next literal is taken
leftmost and atomically, which for globs loses no match, since a literal stretch has one length (as `fnmatch` does it).
``**`` is treated the same way, over whole segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_PATTERN = 1_000
_MAX_ALTERNATIVES = 64
_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9a-fA-F",
}


class Glob:
    """A pattern over paths with slashes: ``*``, ``?`` and ``[a-z]`` within a segment, ``**`` over any number of them.

    Args:
        pattern: The pattern. It matches whole paths; one with ``**/`` before it matches at any depth.

    Raises:
        ValueError: It is longer than `MAX_PATTERN`.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN:
            raise ValueError(f"a pattern has at most {MAX_PATTERN} characters, not {len(pattern)}")
        self.pattern = pattern
        self._match = re.compile(_translated(pattern), re.DOTALL).fullmatch

    def matches(self, path: str) -> bool:
        """Return whether a whole path matches."""
        return self._match(path) is not None


def braces(pattern: str) -> list[str]:
    """Return what ``a.{ts,tsx}`` stands for, braces within braces included.

    Raises:
        ValueError: It stands for more than 64 patterns.
    """
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        one = waiting.pop()
        innermost = re.search(r"\{([^{}]*,[^{}]*)\}", one)
        if innermost is None:
            done.append(one)
        else:
            before, after = one[: innermost.start()], one[innermost.end() :]
            waiting += [before + part + after for part in reversed(innermost[1].split(","))]
        if len(done) + len(waiting) > _MAX_ALTERNATIVES:
            raise ValueError(f"{pattern[:60]!r} stands for more than {_MAX_ALTERNATIVES} patterns")
    return list(dict.fromkeys(done))


def _translated(pattern: str) -> str:
    runs: list[list[str]] = [[]]  # of segments, between one `**` and the next
    for segment in pattern.split("/"):
        if segment != "**":
            runs[-1].append(_segment(segment))
        elif runs[-1] or len(runs) == 1:
            runs.append([])
    first, *rest = ("/".join(run) for run in runs)
    if not rest:
        return first
    *middle, last = rest
    parts = [first + "/" if first else ""]
    parts += [f"(?>(?:[^/]+/)*?{run}/)" for run in middle]
    parts.append(f"(?:[^/]+/)*{last}" if last else ".+")
    return "".join(parts)


def _segment(segment: str) -> str:
    """Return the expression for one segment: what stands before the first star, between stars, and after the last."""
    pieces = [""]
    for part in _parts(segment):
        if part != "*":
            pieces[-1] += part
        elif pieces[-1] or len(pieces) == 1:
            pieces.append("")
    first, *rest = pieces
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + _tail(last)


def _tail(last: str) -> str:
    """Return the expression for a star and what ends the segment; a look-ahead keeps it from going back."""
    return f"(?>[^/]*?{last}(?=/|\\Z))" if last else "[^/]*+"


def _parts(segment: str) -> Iterator[str]:
    at = 0
    while at < len(segment):
        char = segment[at]
        at += 1
        if char == "*":
            yield "*"
        elif char == "?":
            yield "[^/]"
        elif char == "\\" and at < len(segment):
            yield re.escape(segment[at])
            at += 1
        elif char == "[" and (found := _set(segment, at)) is not None:
            expression, at = found
            yield expression
        else:
            yield re.escape(char)


def _set(segment: str, at: int) -> tuple[str, int] | None:
    """Return the expression of a bracket that opened before ``at``, and where it ends; None where it never closes."""
    negated = segment[at : at + 1] in ("!", "^")
    at += negated
    items: list[str] = []
    first = True
    while at < len(segment) and (first or segment[at] != "]"):
        first = False
        if segment.startswith("[:", at) and (end := segment.find(":]", at)) > 0 and segment[at + 2 : end] in _CLASSES:
            items.append(_CLASSES[segment[at + 2 : end]])
            at = end + 2
            continue
        low, at = _member(segment, at)
        if segment[at : at + 1] == "-" and segment[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(segment, at + 1)
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    if at >= len(segment):
        return None
    inside = "".join(items)
    if not inside:
        return ("[^/]" if negated else "(?!)"), at + 1
    return (f"[^/{inside}]" if negated else f"(?!/)[{inside}]"), at + 1


def _member(segment: str, at: int) -> tuple[str, int]:
    if segment[at] == "\\" and at + 1 < len(segment):
        return segment[at + 1], at + 2
    return segment[at], at + 1
