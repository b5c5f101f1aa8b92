"""Where a file's imports lead: a file of the workspace, and the names that are taken out of it."""

from __future__ import annotations

from collections.abc import Iterable


class Edges:
    """Collects the files that one file depends on.

    Args:
        importer: The file; it does not depend on itself.
    """

    def __init__(self, importer: str) -> None:
        self.importer = importer
        self._names: dict[str, set[str] | None] = {}

    def add(self, target: str | None, names: Iterable[str] | None = None) -> None:
        """Enter a target, with the names that are taken out of it; with none of it in particular where ``None``."""
        if target is None or target == self.importer:
            return
        if names is None:
            self._names[target] = None
        elif (known := self._names.setdefault(target, set())) is not None:
            known.update(names)

    def result(self) -> dict[str, tuple[str, ...]]:
        """Return the names by target, sorted; an empty tuple stands for the whole of it."""
        return {target: tuple(sorted(self._names[target] or ())) for target in sorted(self._names)}
