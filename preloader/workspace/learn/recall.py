"""Which files earlier sessions used after such words: "the hook that condenses" may never name its file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping

import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.evidence import Grown
from preloader.workspace.learn.path_book import PathBook
from preloader.workspace.learn.tokens import words

RECALLED = ("user", "said")
"""Whose words recall files: columns of `Recall.shares`."""

_TAIL = 400
_MOST_FILES = 60  # a word that was said before more files tells none
_MOST_USES = 4_096  # of one session: the latest
_DOUBT = 4.0  # uses that a word is thought to have had before any other file


class WordHabits:
    """How often each file was used after each word.

    Attributes:
        files: By word.
        uses: How often each word came before any use.
        used: How often each file was used.
    """

    def __init__(self) -> None:
        self.files: dict[str, Counter[str]] = defaultdict(Counter)
        self.uses: Counter[str] = Counter()
        self.used: Counter[str] = Counter()

    def learn(self, said: Iterable[tuple[frozenset[str], str]]) -> None:
        """Take the uses of a session: the words before each, and the file."""
        for before, path in said:
            self.used[path] += 1
            self.uses.update(before)
            for word in before:
                self.files[word][path] += 1


class Recall:
    """What the words of a session recall; older texts fade by half as others come.

    Args:
        book: The paths.
        habits: What earlier sessions taught; it does not change during the session.

    Attributes:
        uses: The latest uses of files, each with the words before it.
    """

    def __init__(self, book: PathBook, habits: WordHabits) -> None:
        self._book = book
        self._habits = habits
        self._total = max(1, habits.used.total())
        self._shares = Grown(len(RECALLED))
        self._words: dict[str, frozenset[str]] = {name: frozenset() for name in RECALLED}
        self.uses: deque[tuple[frozenset[str], int]] = deque(maxlen=_MOST_USES)

    def shares(self, rows: int) -> NDArray[np.float64]:
        """Return how strongly each of the first paths is recalled: (paths, `RECALLED`)."""
        return self._shares.upto(rows)

    def keep(self, rows: NDArray[np.int64], number: Mapping[int, int]) -> None:
        """Forget all paths but these, which have new numbers: those of the rows that they become."""
        self._shares.keep(rows)
        self.uses = deque(((before, number[file]) for before, file in self.uses if file in number), _MOST_USES)

    def hear(self, text: str, speaker: str) -> None:
        """Take a text of the user or of the agent."""
        said = frozenset(words(text[-_TAIL:]))
        self._words[speaker] = said
        table = self._shares.upto(len(self._book))
        column = RECALLED.index(speaker)
        table[:, column] *= 0.5
        for path, share in self._recalled(said).items():
            number = self._book.find(path)
            if number is not None:
                table[number, column] += share

    def _recalled(self, said: frozenset[str]) -> dict[str, float]:
        """Return of each file its mean share among the uses after each word, the rarer the word the more it counts."""
        recalled: dict[str, float] = defaultdict(float)
        weight = 0.0
        for word in sorted(said):  # sums depend on the order, if by little
            uses = self._habits.uses[word]
            files = self._habits.files.get(word)
            if not uses or files is None:
                continue
            rarity = math.log(self._total / uses)
            weight += rarity
            if len(files) <= _MOST_FILES:
                for path, count in files.items():
                    recalled[path] += rarity * count / (uses + _DOUBT)
        return {path: share / weight for path, share in recalled.items()} if weight else {}

    def use(self, number: int) -> None:
        """Note that a call used a file after the words that were heard last."""
        self.uses.append((self._words["said"], number))
