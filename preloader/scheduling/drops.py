"""What was given up before it was ready: from which tier, why, and how often."""

from __future__ import annotations

from collections import Counter, deque

from preloader.events import Preload

_MOST_REASONS = 64
_MOST_RECENT = 64
_OTHER = "other"


class Drops:
    """Counts of given-up preloads by tier and reason, and the latest of them.

    Reasons are few, since each is a sentence of this package without a key in it; past a bound they count as one.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._recent: deque[Preload] = deque(maxlen=_MOST_RECENT)

    def note(self, preload: Preload, reason: str) -> None:
        """Enter a preload that ended before it was ready.

        Args:
            preload: How it ended.
            reason: Why, without what is particular to it.
        """
        tier = preload.tier.name.lower()
        place = (tier, reason)
        if place not in self._counts and len(self._counts) >= _MOST_REASONS:
            place = (tier, _OTHER)
        self._counts[place] += 1
        self._recent.append(preload)

    def recent(self) -> list[Preload]:
        """Return the latest, oldest first."""
        return list(self._recent)

    def by_tier(self) -> dict[str, dict[str, int]]:
        """Return how many were given up, by tier and reason."""
        counts: dict[str, dict[str, int]] = {}
        for (tier, reason), count in sorted(self._counts.items()):
            counts.setdefault(tier, {})[reason] = count
        return counts
