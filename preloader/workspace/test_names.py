"""Which test files belong to a source file, by the conventions of its language."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_JS = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts")
_JVM = (".java", ".kt", ".groovy", ".scala")
_JS_MARK = re.compile(r"[._-](?:test|spec)$|\.(?:cy|e2e-spec)$")
_JVM_MARK = re.compile("(?:Tests?|TestCase|IT|Spec)$")
_PARTS_OF_LAYOUT = {"src", "lib", "main", "java", "kotlin", "scala", "test", "tests", "__tests__", "unit", "spec"}
MOST = 20


def is_test(path: PurePosixPath) -> bool:
    """Return whether a file holds tests, going by its name."""
    stem, ending = path.stem, path.suffix
    if ending == ".py":
        return stem.startswith("test_") or stem.endswith("_test") or stem == "tests"
    if ending in _JS:
        return bool(_JS_MARK.search(stem)) or "__tests__" in path.parts
    if ending == ".go":
        return stem.endswith("_test")
    if ending == ".rs":
        return "tests" in path.parts[:-1] or stem in ("tests", "test")
    if ending in _JVM:
        return bool(_JVM_MARK.search(stem) or re.match("Test[A-Z]", stem))
    return False


def tested_stems(path: PurePosixPath) -> set[str]:
    """Return the names, without endings, of the sources that a test file is about; none for another file."""
    if not is_test(path):
        return set()
    stem = path.stem
    if path.suffix == ".py" or path.suffix == ".go":
        return {_public(stem.removeprefix("test_").removesuffix("_test"))}
    if path.suffix in _JS:
        return {_JS_MARK.sub("", stem)}
    if path.suffix in _JVM:
        return {_JVM_MARK.sub("", stem), re.sub(r"^Test(?=[A-Z])", "", stem)} - {stem}
    return {stem.removeprefix("test_").removesuffix("_test").removesuffix("_tests")}


def own_stem(source: PurePosixPath) -> str:
    """Return the name that tests of a source file go by: without its ending, and without what marks it as private.

    Where it has no name of its own, that is its package's.
    """
    stem = source.parent.name if source.stem in ("__init__", "index", "mod") else source.stem
    return _public(stem) if source.suffix == ".py" else stem


def _public(stem: str) -> str:
    return stem.lstrip("_") or stem


def tests_of(source: PurePosixPath, files: Iterable[PurePosixPath]) -> tuple[str, ...]:
    """Return the test files of a source file among ``files``, the likeliest first; a test file is its own.

    Likelier is one in the same directory, then one whose path has more of the source's directories.
    """
    if is_test(source):
        return (str(source),)
    stem = own_stem(source)
    endings = next((group for group in (_JS, _JVM) if source.suffix in group), (source.suffix,))
    about = [path for path in files if path.suffix in endings and stem in tested_stems(path)]
    about.sort(key=lambda path: (-_likeness(source, path), str(path)))
    return tuple(map(str, about[:MOST]))


def _likeness(source: PurePosixPath, test: PurePosixPath) -> int:
    if test.parent == source.parent:
        return 100
    of_source = set(source.parent.parts) - _PARTS_OF_LAYOUT
    beside = 10 * (source.parent in test.parents or test.parent.parent == source.parent)
    return beside + len(of_source & (set(test.parent.parts) - _PARTS_OF_LAYOUT))
