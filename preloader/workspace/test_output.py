"""What a test run said: its failures, from the output of the usual frameworks.

The output is a stranger's text: it is cut to its last part, lines to a length, and each line is looked at once by
expressions that are anchored and do not nest, so that no output takes long.
"""

from __future__ import annotations

import re

import msgspec

from preloader.workspace.test_parsers import PARSERS, Failure

MAX_OUTPUT = 1_000_000
_MAX_LINE, _MAX_LINES = 500, 50_000
_MAX_FAILURES = 200
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


class RunReport(msgspec.Struct, frozen=True):
    """What a test run said.

    Attributes:
        framework: Its framework; empty where the output is of none that is known.
        failures: What failed.
        missing: Modules and packages that it could not find.
    """

    framework: str
    failures: tuple[Failure, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """The files to look at, each once, untrusted."""
        return list(dict.fromkeys(failure.path for failure in self.failures if failure.path))


def parse_test_output(text: str) -> RunReport:
    """Return what a test run's output says; what is not understood is left out."""
    lines = [line[:_MAX_LINE].rstrip() for line in _COLOUR.sub("", text[-MAX_OUTPUT:]).splitlines()[-_MAX_LINES:]]
    framework = _framework(lines)
    found: dict[tuple[str, str], Failure] = {}
    for failure in PARSERS[framework](lines) if framework else ():
        key = failure.test, failure.path if framework in _NAMED_BY_FILE else ""
        before = found.get(key)
        if before is None or (not before.path and failure.path) or (not before.message and failure.message):
            found[key] = _joined(before, failure)
        if len(found) >= _MAX_FAILURES:
            break
    return RunReport(framework, tuple(found.values()), _missing(lines))


def _joined(before: Failure | None, after: Failure) -> Failure:
    if before is None:
        return after
    place = before if before.path else after
    return Failure(before.test, place.path, place.line, before.message or after.message)


_NAMED_BY_FILE = ("jest", "vitest")  # tests of one name in two files are two
_SIGNS = (
    ("pytest", re.compile(r"=+ .*(?:test session starts|short test summary|\d+ (?:passed|failed|errors?)\b)")),
    ("cargo", re.compile(r"test result: |running \d+ tests?$|test \S+ \.\.\. (?:ok|FAILED)$|\s{1,9}--> \S+\.rs:\d")),
    ("go", re.compile(r"\s{0,40}--- (?:FAIL|PASS): |FAIL\t\S|ok  \t\S|panic: ")),
    ("vitest", re.compile(r"\s{0,20}(?:RUN|DEV)\s{1,9}v\d| {0,9}Test Files  ")),
    ("jest", re.compile(r"Test Suites: |(?:PASS|FAIL) \S+\.[cm]?[jt]sx?\b")),
    ("maven", re.compile(r"\[(?:ERROR|INFO|WARNING)\] (?:Tests run:|Failures:|BUILD )")),
    ("gradle", re.compile(r"> Task :|BUILD (?:FAILED|SUCCESSFUL) in|\S+ > .{1,200} (?:FAILED|PASSED)$")),
    ("unittest", re.compile(r"Ran \d+ tests? in |(?:FAIL|ERROR): \w+ \(")),
)


def _framework(lines: list[str]) -> str:
    counts = {name: sum(sign.match(line) is not None for line in lines) for name, sign in _SIGNS}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else ""


_MISSING = re.compile(
    r"(?:E? {0,9}ModuleNotFoundError: No module named '([\w.-]{1,200})'"
    r"|.{0,200}Cannot find (?:module|package) '([^'./][^']{0,200})'"
    r"|.{0,200}Failed to resolve import \"([^\"./][^\"]{0,200})\""
    r"|.{0,200}no required module provides package ([\w./-]{1,200})"
    r"|.{0,200}(?:can't find crate for|unresolved import|use of undeclared crate or module) `([\w:]{1,200})`"
    r"|.{0,200}(?:error:|\]) package ([\w.]{1,200}) does not exist).*"
)


def _missing(lines: list[str]) -> tuple[str, ...]:
    """Return the modules and packages that the output says cannot be found."""
    found = (_MISSING.fullmatch(line) for line in lines)
    return tuple(dict.fromkeys(next(filter(None, match.groups())) for match in found if match))[:_MAX_FAILURES]
