"""Which declared dependencies are not installed, by looking at the workspace's own environment; nothing is run."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from preloader.workspace.frameworks import json_table, listed, table, toml_table
from preloader.workspace.reading import Reading

_MOST = 2_000
_CONDITIONS = {"markers", "optional", "platform", "python"}  # on which poetry installs what it lists
_ENVIRONMENTS = (".venv", "venv", "env")
_REQUIREMENT = re.compile(
    r"\s{0,9}([A-Za-z0-9](?:[\w.-]{0,100}[A-Za-z0-9])?)(?:\[[^\]]{0,200}\])?\s{0,9}"
    r"(?=[<>=!~;@#(\\]|--|$)[^;#]{0,200}(;?)"  # what follows a name, and not an address or a path
)


class Dependencies(msgspec.Struct, frozen=True):
    """What one manifest declares.

    Attributes:
        manifest: The file.
        environment: Where its dependencies are installed; empty where there is no such place, and all are missing.
        declared: How many it declares.
        missing: Those that are not installed, by name. One that is wanted on some systems alone is left out.
    """

    manifest: str
    environment: str
    declared: int
    missing: tuple[str, ...]


def dependencies(reading: Reading) -> tuple[Dependencies, ...]:
    """Return what the manifests at the workspace's root declare and lack: Python's and JavaScript's."""
    found = []
    for manifest, names in (
        ("pyproject.toml", _of_pyproject(_text(reading, "pyproject.toml"))),
        ("requirements.txt", _of_requirements(_text(reading, "requirements.txt"))),
    ):
        if names:
            found.append(_of_python(reading, manifest, names))
    package = json_table(_text(reading, "package.json"))
    names = [*table(package, "dependencies"), *table(package, "devDependencies")]
    if names:
        found.append(_of_javascript(reading, names))
    return tuple(found)


def _text(reading: Reading, name: str) -> str:
    source = reading.find(name)
    return source.text if source is not None and not source.binary and not source.truncated else ""


def _of_pyproject(text: str) -> list[str]:
    content = toml_table(text)
    needs = [str(line) for line in listed(table(content, "project").get("dependencies"))]
    poetry = table(table(table(content, "tool"), "poetry"), "dependencies")
    needs += [name for name, need in poetry.items() if name != "python" and not _CONDITIONS & set(_keys(need))]
    return _required(needs)


def _keys(need: object) -> Iterable[str]:
    return need if isinstance(need, Mapping) else ()


def _of_requirements(text: str) -> list[str]:
    return _required([line for line in text.splitlines() if not line.lstrip().startswith(("-", "#"))])


def _required(lines: list[str]) -> list[str]:
    """Return the names of requirements that hold on every system."""
    matches = (_REQUIREMENT.match(line) for line in lines[:_MOST])
    return [match[1] for match in matches if match and not match[2]]


def _of_python(reading: Reading, manifest: str, names: list[str]) -> Dependencies:
    for name in _ENVIRONMENTS:
        for packages in _site_packages(reading, name):
            installed = {_normal(entry.split("-")[0]) for entry in _names(reading, packages) if entry.endswith("-info")}
            missing = tuple(name for name in names if _normal(name) not in installed)
            return Dependencies(manifest, name, len(names), missing)
    return Dependencies(manifest, "", len(names), tuple(names))


def _of_javascript(reading: Reading, names: list[str]) -> Dependencies:
    base = "node_modules"
    there = _is_directory(reading, base)
    missing = tuple(
        name for name in names[:_MOST] if not (_is_package_name(name) and _is_directory(reading, f"{base}/{name}"))
    )
    return Dependencies("package.json", base if there else "", len(names), missing)


def _is_package_name(name: Any) -> bool:
    return re.fullmatch(r"(?:@[\w.-]{1,100}/)?[\w.-]{1,200}", name) is not None and ".." not in name


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _site_packages(reading: Reading, environment: str) -> list[str]:
    base = f"{environment}/lib"
    pythons = [name for name in _names(reading, base) if re.fullmatch(r"python3\.\d{1,2}t?", name)]
    return [f"{base}/{name}/site-packages" for name in sorted(pythons, reverse=True)]


def _names(reading: Reading, directory: str) -> list[str]:
    """Return the names in a directory that the program chose, not a model: an environment is ignored, usually."""
    if not _is_directory(reading, directory):
        return []
    try:
        return sorted(entry.name for entry in Path(reading.confined.root / directory).iterdir())
    except OSError:
        return []


def _is_directory(reading: Reading, directory: str) -> bool:
    reading.check_time()
    reading.note(directory)
    try:
        status = (reading.confined.root / PurePosixPath(directory)).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(status.st_mode)
