"""How a workspace's tests are run: which frameworks its configuration and lock files name, and the command of each."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from preloader.workspace.files import SourceFile
from preloader.workspace.reading import Reading

_MAX_CONFIG_BYTES = 256_000
_PYTHON_RUNNERS = (
    ("uv.lock", ("uv", "run")),
    ("poetry.lock", ("poetry", "run")),
    ("pdm.lock", ("pdm", "run")),
    ("Pipfile.lock", ("pipenv", "run")),
)
_NPM = ("npx", "--no-install")
_JS_RUNNERS = (
    ("pnpm-lock.yaml", ("pnpm", "exec")),
    ("yarn.lock", ("yarn", "run")),
    ("bun.lock", ("bunx",)),
    ("bun.lockb", ("bunx",)),
    ("package-lock.json", _NPM),
)
_REQUIREMENTS = re.compile(r"(?:(?:dev-|test-)?requirements[\w.-]{0,40}|requirements/[\w.-]{1,60})\.(?:txt|in)|Pipfile")
_WORD = r"(?<![\w-]){}(?![\w-])"


class Framework(msgspec.Struct, frozen=True):
    """One way in which tests are run.

    Attributes:
        framework: ``pytest``, ``unittest``, ``jest``, ``vitest``, ``go``, ``cargo``, ``maven`` or ``gradle``.
        command: What runs all of its tests, as arguments. Nothing runs it here.
        directory: Where it is to be run, relative to the workspace.
        evidence: The file that says so.
    """

    framework: str
    command: tuple[str, ...]
    directory: str
    evidence: str


def setups(reading: Reading, directory: PurePosixPath) -> tuple[Framework, ...]:
    """Return how tests are run that concern a directory, or a file, by its own files or those of the nearest one above.

    The surest comes first. Nothing where no file says. A ``conftest.py`` alone says that there is pytest, not that it
    is run from there: a configuration of it above counts more.
    """
    if reading.find(directory) is not None:
        directory = directory.parent
    beneath: tuple[Framework, ...] = ()
    for path in (directory, *directory.parents):
        place = _Place(reading, path)
        found = tuple(place.setups())
        if beneath and any(one.framework == "pytest" for one in found):
            return found
        if found and not (beneath or place.is_unconfigured(found)):
            return found
        beneath = beneath or found
    return beneath


class _Place:
    """One directory's configuration."""

    def __init__(self, reading: Reading, directory: PurePosixPath) -> None:
        self._reading = reading
        self._directory = directory
        self._names = self._files(directory)
        self._directories = {entry.name for entry in reading.entries(directory) if entry.kind == "directory"}

    def is_unconfigured(self, found: tuple[Framework, ...]) -> bool:
        """Return whether all that speaks for what was found here is a ``conftest.py``."""
        is_project = any(name in self._names for name in _PYTHON_PROJECTS)
        return not is_project and all(PurePosixPath(one.evidence).name == "conftest.py" for one in found)

    def setups(self) -> Iterator[Framework]:
        yield from self._python()
        yield from self._javascript()
        if "go.mod" in self._names:
            yield self._setup("go", ("go", "test", "./..."), "go.mod")
        if "Cargo.toml" in self._names:
            yield self._setup("cargo", ("cargo", "test"), "Cargo.toml")
        if "pom.xml" in self._names:
            yield self._setup("maven", (self._wrapper("mvnw") or "mvn", "test"), "pom.xml")
        for name in ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"):
            if name in self._names:
                yield self._setup("gradle", (self._wrapper("gradlew") or "gradle", "test"), name)
                break

    def _files(self, directory: PurePosixPath) -> set[str]:
        return {entry.name for entry in self._reading.entries(directory) if entry.kind == "file"}

    def _wrapper(self, name: str) -> str | None:
        """Return a script that runs a build, here or in the nearest directory above, as it is called from here."""
        for depth, place in enumerate((self._directory, *self._directory.parents)):
            if name in self._files(place):
                return f"{'../' * depth or './'}{name}"
        return None

    def _runner(self, locks: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[str, ...]:
        """Return what runs the programs of an environment, by the nearest lock file, here or in a directory above."""
        for place in (self._directory, *self._directory.parents):
            names = self._files(place)
            for lock, runner in locks:
                if lock in names:
                    return runner
        return ()

    def _setup(self, framework: str, command: tuple[str, ...], evidence: str) -> Framework:
        return Framework(framework, command, str(self._directory), str(self._directory / evidence))

    def _python(self) -> Iterator[Framework]:
        runner = self._runner(_PYTHON_RUNNERS)
        evidence = self._pytest_evidence()
        if evidence is not None:
            yield self._setup("pytest", (*runner, *(("pytest",) if runner else ("python", "-m", "pytest"))), evidence)
            return
        if "manage.py" in self._names:
            yield self._setup("unittest", (*runner, "python", "manage.py", "test"), "manage.py")
            return
        project = next((name for name in _PYTHON_PROJECTS if name in self._names), None)
        home = next((name for name in _TEST_HOMES if name in self._directories), None)
        if project is not None and home is not None:
            # Discovery goes into packages alone.
            start = () if "__init__.py" in self._files(self._directory / home) else ("-s", home)
            yield self._setup("unittest", (*runner, "python", "-m", "unittest", "discover", *start), project)

    def _pytest_evidence(self) -> str | None:
        for name in ("pytest.ini", "conftest.py"):
            if name in self._names:
                return name
        for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
            if name in self._names and section in _sections(self._text(name)):
                return name
        for home in _TEST_HOMES:
            if home in self._directories and "conftest.py" in self._files(self._directory / home):
                return f"{home}/conftest.py"
        if "pyproject.toml" in self._names and _names_pytest(toml_table(self._text("pyproject.toml"))):
            return "pyproject.toml"
        further = self._files(self._directory / "requirements") if "requirements" in self._directories else ()
        for name in sorted({*self._names, *(f"requirements/{one}" for one in further)}):
            if _REQUIREMENTS.fullmatch(name) and re.search(r"^\W{0,2}pytest\b", self._text(name), re.MULTILINE):
                return name
        for name in _MENTIONING:
            if name in self._names and re.search(_WORD.format("pytest"), self._text(name)):
                return name
        return None

    def _javascript(self) -> Iterator[Framework]:
        if "package.json" not in self._names:
            return
        package = json_table(self._text("package.json"))
        runner = self._runner(_JS_RUNNERS) or _NPM
        script = str(table(package, "scripts").get("test", ""))
        depends = {**table(package, "dependencies"), **table(package, "devDependencies")}
        for framework, command in (("vitest", ("vitest", "run")), ("jest", ("jest",))):
            configured = any(name.startswith(f"{framework}.config.") for name in self._names) or framework in package
            if configured or framework in depends or re.search(_WORD.format(framework), script):
                yield self._setup(framework, (*runner, *command), "package.json")

    def _text(self, name: str) -> str:
        source: SourceFile | None = self._reading.find(self._directory / name)
        if source is None or source.binary or source.size > _MAX_CONFIG_BYTES:
            return ""
        return source.text


_TEST_HOMES = ("tests", "test")
_MENTIONING = ("setup.py", "setup.cfg", "tox.ini", "noxfile.py")  # what runs pytest, or needs it, in words of its own
_PYTHON_PROJECTS = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile")


def _sections(text: str) -> list[str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    return parser.sections()


def _names_pytest(project: Mapping[str, Any]) -> bool:
    if "pytest" in table(project, "tool"):
        return True
    needs = [*listed(table(project, "project").get("dependencies"))]
    for groups in (table(table(project, "project"), "optional-dependencies"), table(project, "dependency-groups")):
        needs += [need for group in groups.values() for need in listed(group)]
    needs += listed(table(table(project, "tool"), "uv").get("dev-dependencies"))
    needs += [
        need
        for group in table(table(table(project, "tool"), "pdm"), "dev-dependencies").values()
        for need in listed(group)
    ]
    poetry = table(table(project, "tool"), "poetry")
    needs += [*table(poetry, "dependencies"), *table(poetry, "dev-dependencies")]
    for group in table(poetry, "group").values():
        needs += table(group, "dependencies")
    return any(re.match(r"pytest(?![\w-])", str(need)) for need in needs)


def listed(value: object) -> list[Any]:
    """Return a value where it is a list, else nothing: configuration is whatever its writer made of it."""
    return value if isinstance(value, list) else []


def table(value: object, key: str) -> Mapping[str, Any]:
    """Return the table at a key of a value, empty where there is none."""
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def toml_table(text: str) -> Mapping[str, Any]:
    """Return what a TOML text says, empty where it is none."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def json_table(text: str) -> Mapping[str, Any]:
    """Return what a JSON text says, empty where it is no table."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, Mapping) else {}
