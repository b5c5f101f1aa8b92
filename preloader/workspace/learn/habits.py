"""What a repository's earlier sessions teach about its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

_FADE = 0.9
_MOST_TOGETHER = 60


class Habits:
    """Counts over the sessions of one repository: which files were named, read, edited, and used after one another.

    Attributes:
        sessions: How many were learned.
        named: In how many each file was named.
        read: In how many each was read.
        edited: In how many each was edited.
        touched: In how many each was either.
        recent: As `read`, but older sessions fade.
        last: Which session, from 1, used each last.
        after: How often one file was used right after another.
        together: In how many sessions two files were both used.
        symbols: How often an identifier stood beside each file.
    """

    def __init__(self) -> None:
        self.sessions = 0
        self.named: Counter[str] = Counter()
        self.read: Counter[str] = Counter()
        self.edited: Counter[str] = Counter()
        self.touched: Counter[str] = Counter()
        self.recent: dict[str, float] = defaultdict(float)
        self.last: dict[str, int] = {}
        self.after: dict[str, Counter[str]] = defaultdict(Counter)
        self.together: dict[str, Counter[str]] = defaultdict(Counter)
        self.symbols: dict[str, Counter[str]] = defaultdict(Counter)

    def learn(
        self,
        used: Sequence[str],
        read: Collection[str],
        edited: Collection[str],
        named: Iterable[str],
        symbols: Iterable[tuple[str, str]],
    ) -> None:
        """Take one session.

        Args:
            used: The files that calls read or changed, in order, without immediate repeats.
            read: Those read.
            edited: Those edited.
            named: All files that it named.
            symbols: Identifiers, each with a file that it stood beside.
        """
        self.sessions += 1
        for path in self.recent:
            self.recent[path] *= _FADE
        self.read.update(read)
        self.edited.update(edited)
        self.named.update(named)
        for path in read:
            self.recent[path] += 1
        for path in dict.fromkeys(used):
            self.touched[path] += 1
            self.last[path] = self.sessions
        for before, after in pairwise(used):
            self.after[before][after] += 1
        early = used[:_MOST_TOGETHER]
        for one in dict.fromkeys(early):
            self.together[one].update(other for other in early if other != one)
        for symbol, path in symbols:
            self.symbols[symbol][path] += 1

    def followers(self, path: str) -> dict[str, float]:
        """Return how likely each file is to be used right after ``path``."""
        counts = self.after.get(path, Counter())
        total = sum(counts.values())
        return {other: count / total for other, count in counts.items()}
