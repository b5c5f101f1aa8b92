"""Which paths were used lately, and what lies near them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container

MOST_REMEMBERED = 1_024
_NEIGHBOURS = 8


class Recency:
    """Remembers the order in which paths were last used, and judges how near others are to the latest."""

    def __init__(self) -> None:
        self._ticks: OrderedDict[str, int] = OrderedDict()
        self._now = 0

    def touch(self, path: str) -> None:
        """Note that ``path`` is used now."""
        self._now += 1
        self._ticks[path] = self._now
        self._ticks.move_to_end(path)
        if len(self._ticks) > MOST_REMEMBERED:
            self._ticks.popitem(last=False)

    def keep(self, there: Container[str]) -> None:
        """Forget the paths that are not ``there`` any more."""
        for path in [path for path in self._ticks if path not in there]:
            del self._ticks[path]

    def tick(self, path: str) -> int:
        """Return when ``path`` was last used, larger for later; 0 if never, or too long ago."""
        return self._ticks.get(path, 0)

    def latest(self, number: int = _NEIGHBOURS) -> list[str]:
        """Return the paths used last, the latest first."""
        return [path for path, _ in zip(reversed(self._ticks), range(number), strict=False)]

    def nearness(self, path: str) -> float:
        """Return how much of its way ``path`` shares with those used last: levels in common, less for older ones."""
        parts = path.split("/")[:-1]
        best = 0.0
        for age, other in enumerate(self.latest()):
            shared = 0
            for mine, its in zip(parts, other.split("/"), strict=False):
                if mine != its:
                    break
                shared += 1
            best = max(best, shared - 0.1 * age)
        return best
