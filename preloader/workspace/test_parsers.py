"""The failures in the output of each test framework, and the places where a build failed before its tests.

The expressions are anchored, bounded and do not nest, and see each line once: the output is a stranger's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec


class Failure(msgspec.Struct, frozen=True):
    """A test that failed.

    Attributes:
        test: Its name, as its framework writes it; the place, where a build failed before there were tests.
        path: The file to look at, as the output names it: untrusted, and empty where it names none.
        line: The line in it, from 1; 0 where the output names none.
        message: What was said first.
    """

    test: str
    path: str = ""
    line: int = 0
    message: str = ""


_FOREIGN = re.compile(r"site-packages/|/lib/python\d|^<|/src/(?:testing|runtime)/|node_modules")
"""Where errors are raised that somebody else made: no place to look at first."""

_PYTEST_SUMMARY = re.compile(r"(FAILED|ERROR) ([^\s:]{1,300}(?:::.{1,400}?)?)(?: - (.*))?")
_PYTEST_PLACE = re.compile(r"(\S{1,300}\.py):(\d{1,7}):(?: .*)?")
_PYTEST_HEAD = re.compile(r"_{3,} (ERROR at \w+ of |ERROR collecting )?(\S.*?) _{3,}")


def _pytest(lines: list[str]) -> Iterator[Failure]:
    sections: dict[str, list[tuple[str, int]]] = {}  # by kind and name: where each of them was raised, in order
    section: list[tuple[str, int]] = []
    for line in lines:
        if head := _PYTEST_HEAD.fullmatch(line):
            section = sections.setdefault(f"{'ERROR' if head[1] else 'FAILED'} {head[2]}", [])
            section.append(("", 0))
        elif section and (place := _PYTEST_PLACE.fullmatch(line)):
            if not section[-1][0] or not _FOREIGN.search(place[1]):  # the last one is where it was raised
                section[-1] = place[1], int(place[2])
        elif summary := _PYTEST_SUMMARY.fullmatch(line):
            path, _, name = summary[2].partition("::")
            function, bracket, parameters = name.partition("[")
            title = f"{function.replace('::', '.')}{bracket}{parameters}" or path
            raised = sections.get(f"{summary[1]} {title}")
            at, line_number = raised.pop(0) if raised else ("", 0)
            yield Failure(summary[2], at or path, line_number, summary[3] or "")


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
            if not path or not _FOREIGN.search(frame[1]):
                path, at = frame[1], int(frame[2])
        elif test and not message and (error := _PYTHON_ERROR.fullmatch(line)):
            message = error[1]
    if test:
        yield Failure(test, path, at, message)


_JS_FILE = re.compile(
    r"\s{0,9}(?:FAIL|\u276f)\s{1,4}(?:\|\S{1,60}\| )?(\S{1,300}\.[cm]?[jt]sx?)(?: > (.{1,300})|( \[.*)| \(.*)?"
)
_JS_TEST = re.compile(r"\s{0,9}\u25cf (\S.{0,300})")
_JS_FRAME = re.compile(
    r"\s{0,20}(?:at .{0,200}\(|at |\u276f )((?:file://)?[^\s():]{1,300}\.[cm]?[jt]sx?):(\d{1,7}):\d{1,7}\)?.*"
)
_JS_SUITE = "Test suite failed to run"  # which is every such suite's title, of Jest


def _javascript(lines: list[str]) -> Iterator[Failure]:
    file, test, path, at, message = "", "", "", 0, ""
    for line in lines:
        header = _JS_FILE.fullmatch(line)
        title = _JS_TEST.fullmatch(line)
        if header or title:
            if test:
                yield Failure(test, path or file, at, message)
            test, path, at, message = "", "", 0, ""
        if header:
            file = header[1]
            test = header[2] or (file if header[3] else "")
        elif title and title[1] != "Console":
            test = file if title[1] == _JS_SUITE else title[1]
        elif test and not path and (frame := _JS_FRAME.fullmatch(line)) and not _FOREIGN.search(frame[1]):
            path, at = frame[1].removeprefix("file://"), int(frame[2])
        elif test and not message:
            message = line.strip()
    if test:
        yield Failure(test, path or file, at, message)


_GO_RUN = re.compile(r"=== (?:RUN|CONT|NAME|PAUSE) {1,4}(\S{1,300})")
_GO_FAIL = re.compile(r"\s{0,40}--- FAIL: (\S{1,300}) \(.*\)")
_GO_PLACE = re.compile(r"\s{1,40}([^\s:]{1,300}\.go):(\d{1,7}):(?: (.*))?")
_GO_SAID = re.compile(r"\s{1,40}Error:\s{1,20}(\S.*)")  # testify, on a line of its own
_GO_FRAME = re.compile(r"\t([^\s:]{1,300}\.go):(\d{1,7})(?: \+0x\w{1,16})?")
_GO_OTHER = ("FAIL", "ok", "---", "===")  # than what a compiler says
_GO_BUILD = re.compile(r"([^\s:]{1,300}\.go):(\d{1,7}):(?:\d{1,7}:)? (.*)")


def _go(lines: list[str]) -> Iterator[Failure]:
    said: dict[str, Failure] = {}  # with -v, what a test says comes before it is said to have failed
    running = failed = panic = ""
    is_building = False
    for line in lines:
        is_building = line.startswith("# ") or (is_building and not line.startswith(_GO_OTHER))
        if run := _GO_RUN.fullmatch(line):
            running, failed = run[1], ""
        elif fail := _GO_FAIL.fullmatch(line):
            failed = fail[1]
            yield said.pop(failed, Failure(failed))
        elif place := _GO_PLACE.fullmatch(line):
            said[running] = Failure(failed or running, place[1], int(place[2]), place[3] or "")
            if failed:
                yield said.pop(running)
        elif text := _GO_SAID.fullmatch(line):
            if failed:
                yield Failure(failed, message=text[1])
            elif running in said:
                said[running] = msgspec.structs.replace(said[running], message=text[1])
        elif line.startswith("panic: "):
            panic = panic or line.removeprefix("panic: ")
        elif panic and (frame := _GO_FRAME.fullmatch(line)) and not _FOREIGN.search(frame[1]):
            yield Failure(failed or running or "panic", frame[1], int(frame[2]), panic)
            panic = ""
        elif is_building and (wrong := _GO_BUILD.fullmatch(line)):
            yield Failure(f"{wrong[1]}:{wrong[2]}", wrong[1], int(wrong[2]), wrong[3])


_CARGO_FAIL = re.compile(
    r"test ((\S{1,300}\.rs) - .{0,300}\(line (\d{1,7})\)|\S{1,300})(?: - [\w ]{1,40})? \.\.\. FAILED"
)
_CARGO_PANIC = re.compile(
    r"thread '([^']{1,300})'(?: \(\d+\))? panicked at (?:'(.{0,300})', )?([^\s:]{1,300}):(\d{1,7}):\d{1,7}:?"
)
_RUST_REMARK = re.compile(r"(error|warning)(?:\[E\d{4}\])?: (.*)")
_RUST_PLACE = re.compile(r"\s{1,20}--> ([^\s:]{1,300}):(\d{1,7}):\d{1,7}")


def _cargo(lines: list[str]) -> Iterator[Failure]:
    error = ""
    for number, line in enumerate(lines):
        if failed := _CARGO_FAIL.fullmatch(line):
            yield Failure(failed[1], failed[2] or "", int(failed[3] or 0))
        elif panic := _CARGO_PANIC.fullmatch(line):
            after = lines[number + 1] if number + 1 < len(lines) else ""
            yield Failure(panic[1], panic[3], int(panic[4]), panic[2] or after)
        elif remark := _RUST_REMARK.fullmatch(line):
            error = remark[2] if remark[1] == "error" else ""
        elif error and (place := _RUST_PLACE.fullmatch(line)):
            yield Failure(f"{place[1]}:{place[2]}", place[1], int(place[2]), error)
            error = ""


_MAVEN_FAIL = re.compile(r"\[ERROR\] {1,9}([\w$.>]{1,300}[.:][\w$\[\]{}]{1,200}):(\d{1,7})(?:->\S+)? ?(.*)")
_MAVEN_BUILD = re.compile(r"\[ERROR\] {1,9}(\S{1,300}\.(?:java|kt)):\[(\d{1,7}),\d{1,7}\] (.*)")


def _maven(lines: list[str]) -> Iterator[Failure]:
    for line in lines:
        if failed := _MAVEN_FAIL.fullmatch(line):
            owner = re.split(r"[.>]", failed[1].rpartition(".")[0])[-1]  # of an inherited test: Test>Base.name
            yield Failure(failed[1], f"{owner}.java", int(failed[2]), failed[3])
        elif wrong := _MAVEN_BUILD.fullmatch(line):
            yield Failure(f"{wrong[1]}:{wrong[2]}", wrong[1], int(wrong[2]), wrong[3])


_GRADLE_FAIL = re.compile(r"([\w$.]{1,300}) > (.{1,200}) FAILED")
_JVM_PLACE = re.compile(
    r"\s{1,20}(?:at (?:[\w.@-]{0,60}/{1,2})?(\S{0,300})\(|.{0,300} at )"
    r"([\w$]{1,200}\.(?:java|kt|groovy|scala)):(\d{1,7})\)?"
)
_JVM_FOREIGN = re.compile(r"(?:java|javax|jdk|kotlin|org\.(?:assertj|gradle|hamcrest|junit|opentest4j|testng)|sun)\.")
_JAVAC = re.compile(r"(\S{1,300}\.java):(\d{1,7}): error: (.*)")


def _gradle(lines: list[str]) -> Iterator[Failure]:
    test, message = "", ""
    for line in lines:
        if failed := _GRADLE_FAIL.fullmatch(line):
            test, message = f"{failed[1]} > {failed[2]}", ""
            yield Failure(test)
        elif test and (place := _JVM_PLACE.fullmatch(line)):
            if not _JVM_FOREIGN.match(place[1] or ""):
                yield Failure(test, place[2], int(place[3]), message or line.strip().partition(" at ")[0])
        elif test and line.startswith("    ") and not message:
            message = line.strip()
        elif wrong := _JAVAC.fullmatch(line):
            yield Failure(f"{wrong[1]}:{wrong[2]}", wrong[1], int(wrong[2]), wrong[3])


PARSERS: dict[str, Callable[[list[str]], Iterator[Failure]]] = {
    "pytest": _pytest,
    "unittest": _unittest,
    "jest": _javascript,
    "vitest": _javascript,
    "go": _go,
    "cargo": _cargo,
    "maven": _maven,
    "gradle": _gradle,
}
"""By framework: what yields its failures, of which several may be about one test."""
