"""What a test run said: its failures, from the output of the usual frameworks.

The output is a stranger's text: it is cut to its last part, lines to a length, and each line is looked at once by
expressions that are anchored and do not nest, so that no output takes long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

MAX_OUTPUT = 1_000_000
_MAX_LINE, _MAX_LINES = 500, 50_000
_MAX_FAILURES = 200
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


class Failure(msgspec.Struct, frozen=True):
    """A test that failed.

    Attributes:
        test: Its name, as its framework writes it.
        path: The file to look at, as the output names it: untrusted, and empty where it names none.
        line: The line in it, from 1; 0 where the output names none.
        message: What was said first.
    """

    test: str
    path: str = ""
    line: int = 0
    message: str = ""


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
    found: dict[str, Failure] = {}
    for failure in _PARSERS[framework](lines) if framework else ():
        before = found.get(failure.test)
        if before is None or (not before.path and failure.path) or (not before.message and failure.message):
            found[failure.test] = _joined(before, failure)
        if len(found) >= _MAX_FAILURES:
            break
    return RunReport(framework, tuple(found.values()), _missing(lines))


def _joined(before: Failure | None, after: Failure) -> Failure:
    if before is None:
        return after
    place = before if before.path else after
    return Failure(before.test, place.path, place.line, before.message or after.message)


_SIGNS = (
    ("pytest", re.compile(r"=+ .*(?:test session starts|short test summary|\d+ (?:passed|failed|errors?)\b)")),
    ("cargo", re.compile(r"test result: |running \d+ tests?$|test \S+ \.\.\. (?:ok|FAILED)$")),
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


_PYTEST_SUMMARY = re.compile(r"(?:FAILED|ERROR) (\S{1,400})(?: - (.*))?")
_PYTEST_PLACE = re.compile(r"(\S{1,300}\.py):(\d{1,7}): (\S.*)?")
_PYTEST_HEAD = re.compile(r"_{3,} (?:ERROR at \w+ of |ERROR collecting )?(\S.*?) _{3,}")


def _pytest(lines: list[str]) -> Iterator[Failure]:
    places: dict[str, tuple[str, int]] = {}
    head = ""
    for line in lines:
        if found := _PYTEST_HEAD.fullmatch(line):
            head = found[1]
        elif head and (place := _PYTEST_PLACE.fullmatch(line)):
            places[head.rpartition(".")[2]] = place[1], int(place[2])  # the last one is where it was raised
        elif summary := _PYTEST_SUMMARY.fullmatch(line):
            test = summary[1]
            path, _, name = test.partition("::")
            at, line_number = places.get(name.rpartition("::")[2], (path, 0))
            yield Failure(test, at, line_number, summary[2] or "")


_UNITTEST_HEAD = re.compile(r"(?:FAIL|ERROR): (\w{1,200}) \(([\w.<>]{1,300})\)?.*")
_PYTHON_FRAME = re.compile(r'  File "([^"]{1,400})", line (\d{1,7})(?:, in (\S+))?')
_PYTHON_ERROR = re.compile(r"([A-Za-z_][\w.]{0,200}(?:Error|Exception|Failure|Warning|Interrupt)\b.*)")


def _unittest(lines: list[str]) -> Iterator[Failure]:
    test, path, at, message = "", "", 0, ""
    for line in lines:
        if head := _UNITTEST_HEAD.fullmatch(line):
            if test:
                yield Failure(test, path, at, message)
            test, path, at, message = f"{head[2].removesuffix('.' + head[1])}.{head[1]}", "", 0, ""
        elif test and (frame := _PYTHON_FRAME.fullmatch(line)):
            path, at = frame[1], int(frame[2])
        elif test and not message and (error := _PYTHON_ERROR.fullmatch(line)):
            message = error[1]
    if test:
        yield Failure(test, path, at, message)


_JS_FILE = re.compile(
    r"\s{0,9}(?:FAIL|\u276f)\s{1,4}(?:\|\S{1,60}\| )?(\S{1,300}\.[cm]?[jt]sx?)(?: > (.{1,300}))?(?: \(.*)?"
)
_JS_TEST = re.compile(r"\s{0,9}● (\S.{0,300})")
_JS_FRAME = re.compile(
    r"\s{0,20}(?:at .{0,200}\(|at |\u276f )((?:file://)?[^\s():]{1,300}\.[cm]?[jt]sx?):(\d{1,7}):\d{1,7}\)?.*"
)
_JS_ERROR = re.compile(r"\s{0,9}((?:\w{1,60}Error|Error|AssertionError): .*|expect\(.*)")


def _javascript(lines: list[str]) -> Iterator[Failure]:
    file, test, path, at, message = "", "", "", 0, ""
    for line in lines:
        header = _JS_FILE.fullmatch(line)
        title = _JS_TEST.fullmatch(line)
        if (header and header[2]) or title:
            if test:
                yield Failure(test, path or file, at, message)
            path, at, message = "", 0, ""
        if header:
            file = header[1]
            test = header[2] or ""
        elif title:
            test = title[1]
        elif test and not path and (frame := _JS_FRAME.fullmatch(line)) and "node_modules" not in frame[1]:
            path, at = frame[1].removeprefix("file://"), int(frame[2])
        elif test and not message and (error := _JS_ERROR.fullmatch(line)):
            message = error[1]
    if test:
        yield Failure(test, path or file, at, message)


_GO_FAIL = re.compile(r"\s{0,40}--- FAIL: (\S{1,300}) \(.*\)")
_GO_PLACE = re.compile(r"\s{1,40}([^\s:]{1,300}\.go):(\d{1,7}): (.*)")


def _go(lines: list[str]) -> Iterator[Failure]:
    test, early = "", None  # with -v, what a test says comes before it is said to have failed
    for line in lines:
        if place := _GO_PLACE.fullmatch(line):
            early = Failure(test, place[1], int(place[2]), place[3])
            if test:
                yield early
        elif failed := _GO_FAIL.fullmatch(line):
            test = failed[1]
            yield Failure(test) if early is None or early.test else msgspec.structs.replace(early, test=test)
            early = None
        elif line.startswith("=== RUN"):
            test, early = "", None


_CARGO_FAIL = re.compile(r"test (\S{1,300}) \.\.\. FAILED")
_CARGO_PANIC = re.compile(
    r"thread '([^']{1,300})'(?: \(\d+\))? panicked at (?:'(.{0,300})', )?([^\s:]{1,300}):(\d{1,7}):\d{1,7}:?"
)


def _cargo(lines: list[str]) -> Iterator[Failure]:
    for number, line in enumerate(lines):
        if failed := _CARGO_FAIL.fullmatch(line):
            yield Failure(failed[1])
        elif panic := _CARGO_PANIC.fullmatch(line):
            after = lines[number + 1] if number + 1 < len(lines) else ""
            yield Failure(panic[1], panic[3], int(panic[4]), panic[2] or after)


_MAVEN_FAIL = re.compile(r"\[ERROR\] {1,9}([\w$.]{1,300}[.:][\w$\[\]{}]{1,200}):(\d{1,7})(?:->\S+)? ?(.*)")


def _maven(lines: list[str]) -> Iterator[Failure]:
    for line in lines:
        if failed := _MAVEN_FAIL.fullmatch(line):
            owner = failed[1].rpartition(".")[0].rpartition(".")[2]
            yield Failure(failed[1], f"{owner}.java", int(failed[2]), failed[3])


_GRADLE_FAIL = re.compile(r"([\w$.]{1,300}) > (.{1,200}) FAILED")
_JVM_PLACE = re.compile(r"\s{1,20}(?:at .{0,300}\(|.{0,300} at )([\w$]{1,200}\.(?:java|kt|groovy|scala)):(\d{1,7})\)?")


def _gradle(lines: list[str]) -> Iterator[Failure]:
    test, message = "", ""
    for line in lines:
        if failed := _GRADLE_FAIL.fullmatch(line):
            test, message = f"{failed[1]} > {failed[2]}", ""
            yield Failure(test)
        elif test and (place := _JVM_PLACE.fullmatch(line)):
            yield Failure(test, place[1], int(place[2]), message or line.strip().partition(" at ")[0])
        elif test and line.startswith("    ") and not message:
            message = line.strip()


_PARSERS: dict[str, Callable[[list[str]], Iterator[Failure]]] = {
    "pytest": _pytest,
    "unittest": _unittest,
    "jest": _javascript,
    "vitest": _javascript,
    "go": _go,
    "cargo": _cargo,
    "maven": _maven,
    "gradle": _gradle,
}

_MISSING = re.compile(
    r"(?:E? {0,9}ModuleNotFoundError: No module named '([\w.-]{1,200})'"
    r"|.{0,200}Cannot find (?:module|package) '([^'./][^']{0,200})'"
    r"|.{0,200}Failed to resolve import \"([^\"./][^\"]{0,200})\""
    r"|.{0,200}no required module provides package ([\w./-]{1,200})"
    r"|.{0,200}(?:can't find crate for|unresolved import|use of undeclared crate or module) `([\w:]{1,200})`"
    r"|.{0,200}error: package ([\w.]{1,200}) does not exist).*"
)


def _missing(lines: list[str]) -> tuple[str, ...]:
    """Return the modules and packages that the output says cannot be found."""
    found = (_MISSING.fullmatch(line) for line in lines)
    return tuple(dict.fromkeys(next(filter(None, match.groups())) for match in found if match))[:_MAX_FAILURES]
