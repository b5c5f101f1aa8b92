"""Which paths were used lately, and what lies near them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Container

MOST_REMEMBERED = 1_024
_NEIGHBOURS = 8
_LESS_EACH = 0.1  # level in common, for each path used since


class Recency:
    """Remembers the order in which paths were last used, and judges how near others are to the latest."""

    def __init__(self) -> None:
        self._ticks: OrderedDict[str, int] = OrderedDict()
        self._now = 0
        self._near: dict[str, float] | None = None  # what lies around the paths used last, until another is

    def touch(self, path: str) -> None:
        """Note that ``path`` is used now."""
        self._now += 1
        self._near = None
        self._ticks[path] = self._now
        self._ticks.move_to_end(path)
        if len(self._ticks) > MOST_REMEMBERED:
            self._ticks.popitem(last=False)

    def keep(self, there: Container[str]) -> None:
        """Forget the paths that are not ``there`` any more."""
        self._near = None
        for path in [path for path in self._ticks if path not in there]:
            del self._ticks[path]

    def tick(self, path: str) -> int:
        """Return when ``path`` was last used, larger for later; 0 if never, or too long ago."""
        return self._ticks.get(path, 0)

    def latest(self, number: int = _NEIGHBOURS) -> list[str]:
        """Return the paths used last, the latest first."""
        return list(itertools.islice(reversed(self._ticks), number))

    def nearness(self, path: str) -> float:
        """Return how much of its way ``path`` shares with those used last: levels in common, less for older ones."""
        if self._near is None:
            self._near = self._directories()
        directory = path.rpartition("/")[0]
        while directory and directory not in self._near:
            directory = directory.rpartition("/")[0]
        return self._near.get(directory, 0.0)

    def _directories(self) -> dict[str, float]:
        """Return every directory around the paths used last, with what lying in it is worth."""
        worth: dict[str, float] = {}
        for age, path in enumerate(self.latest()):
            directory = path.rpartition("/")[0]
            while directory and directory not in worth:
                worth[directory] = 1 + directory.count("/") - _LESS_EACH * age
                directory = directory.rpartition("/")[0]
        return worth
