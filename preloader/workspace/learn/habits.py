"""What a repository's earlier sessions teach about its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from preloader.workspace.learn.recall import WordHabits

_FADE = 0.9
_MOST_TOGETHER = 60

MOST_FILES, MOST_SYMBOLS = 4_096, 32_768
"""Of how many files and identifiers anything is known; of more, the half that was used and named least is forgotten."""


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
        defined: How often each identifier was seen defined in each file.
        words: How often each file was used after each word.
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
        self.defined: dict[str, Counter[str]] = defaultdict(Counter)
        self.words = WordHabits()

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
        if len(self.named.keys() | self.touched.keys()) > MOST_FILES:
            self._forget_files()
        if len(self.symbols) > MOST_SYMBOLS:
            counts = Counter({symbol: sum(files.values()) for symbol, files in self.symbols.items()})
            self.symbols = _only(self.symbols, {symbol for symbol, _ in counts.most_common(MOST_SYMBOLS // 2)})

    def _forget_files(self) -> None:
        """Forget all but the files that most sessions used, then named."""
        paths = self.named.keys() | self.touched.keys()
        ordered = sorted(paths, key=lambda path: (-self.touched[path], -self.named[path], path))
        kept = set(ordered[: MOST_FILES // 2])
        for counts in (self.named, self.read, self.edited, self.touched, self.recent, self.last):
            for path in counts.keys() - kept:
                del counts[path]
        self.after, self.together = _only(self.after, kept, kept), _only(self.together, kept, kept)
        self.symbols = _only(self.symbols, set(self.symbols), kept)

    def followers(self, path: str) -> dict[str, float]:
        """Return how likely each file is to be used right after ``path``."""
        counts = self.after.get(path, Counter())
        total = sum(counts.values())
        return {other: count / total for other, count in counts.items()}


def _only(
    counts: Mapping[str, Counter[str]], kept: Collection[str], inner: Collection[str] | None = None
) -> dict[str, Counter[str]]:
    """Return the counts of what is kept, and of that only of ``inner`` where that is given."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name, of_name in counts.items():
        left = {other: count for other, count in of_name.items() if inner is None or other in inner}
        if name in kept and left:
            found[name] = Counter(left)
    return found
