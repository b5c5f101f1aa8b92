"""Which paths the words and identifiers of the latest text point at, without naming them."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping

import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.evidence import NEVER, Grown
from preloader.workspace.learn.path_book import PathBook
from preloader.workspace.learn.tokens import identifiers, words

WORD_CHANNELS = ("user", "said", "returned")
SYMBOL_CHANNELS = ("user", "assistant", "thinking", "returned")

_MOST_FILES = 25  # an identifier of more files tells none
_MOST_LEARNED = 40
_MOST_IDENTIFIERS, _MOST_TAUGHT = 65_536, 65_536  # of one session: those learned last


class Symbols:
    """The files that identifiers stood beside: in a search's line, in a file that was read, in a sentence."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, dict[int, float]] = OrderedDict()
        self.learned: deque[tuple[str, int]] = deque(maxlen=_MOST_TAUGHT)

    def restore(self, identifier: str, files: dict[int, float]) -> None:
        """Begin with what earlier sessions knew of an identifier."""
        self._files[identifier] = files

    def learn(self, file: int, text: str) -> None:
        """Take the identifiers of a text that belongs to a file."""
        for name in sorted(identifiers(text)):
            files = self._files.setdefault(name, {})
            self._files.move_to_end(name)
            if len(self._files) > _MOST_IDENTIFIERS:
                self._files.popitem(last=False)
            if len(files) < _MOST_LEARNED:
                files[file] = files.get(file, 0.0) + 1.0
                self.learned.append((name, file))

    def keep(self, number: Mapping[int, int]) -> None:
        """Forget all files but those that have a new number, which they have from now on."""
        for name, files in list(self._files.items()):
            self._files[name] = {number[file]: weight for file, weight in files.items() if file in number}
            if not self._files[name]:
                del self._files[name]
        self.learned = deque(((name, number[file]) for name, file in self.learned if file in number), _MOST_TAUGHT)

    def files(self, identifier: str) -> dict[int, float]:
        """Return how strongly an identifier points at each file; nothing if at too many."""
        files = self._files.get(identifier, {})
        total = sum(files.values())
        return {file: weight / total for file, weight in files.items()} if len(files) < _MOST_FILES else {}


class Activation:
    """How strongly the latest texts point at each path; older texts fade by half as others come.

    Args:
        book: The paths.

    Attributes:
        symbols: What identifiers are known to belong to which files.
    """

    def __init__(self, book: PathBook) -> None:
        self._book = book
        self.symbols = Symbols()
        self._words = Grown(len(WORD_CHANNELS))
        self._symbols = Grown(len(SYMBOL_CHANNELS))
        self._stem_item = Grown(1, NEVER)
        self._stem_times = Grown(1)

    def keep(self, rows: NDArray[np.int64], number: Mapping[int, int]) -> None:
        """Forget all paths but these, which have new numbers: those of the rows that they become."""
        for table in (self._words, self._symbols, self._stem_item, self._stem_times):
            table.keep(rows)
        self.symbols.keep(number)

    def words(self, rows: int) -> NDArray[np.float64]:
        """Return how strongly words point at the first paths: (paths, `WORD_CHANNELS`)."""
        return self._words.upto(rows)

    def identifiers(self, rows: int) -> NDArray[np.float64]:
        """Return how strongly identifiers do: (paths, `SYMBOL_CHANNELS`)."""
        return self._symbols.upto(rows)

    def stems(self, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return when a path's name without extension was last said, by item, and how often: (paths, 1) each."""
        return self._stem_item.upto(rows), self._stem_times.upto(rows)

    def hear_words(self, text: str, channel: str, item: int) -> None:
        """Let the paths rise whose names share words with a text, the rarer the words the more."""
        count = len(self._book)
        column = WORD_CHANNELS.index(channel)
        table = self._words.upto(count)
        table[:, column] *= 0.5
        for word in sorted(words(text)):  # sums depend on the order, if by little
            sharing = self._book.sharing(word)
            if sharing:
                rarity = math.log(1 + count / len(sharing))
                for number, share in sharing:
                    table[number, column] += rarity * share
        self._hear_stems(text, item)

    def _hear_stems(self, text: str, item: int) -> None:
        said = set(text.replace("`", " ").replace("(", " ").replace(".", " ").replace(",", " ").lower().split())
        items, times = self.stems(len(self._book))
        for stem in sorted(said):
            if len(stem) > 7 or "_" in stem or "-" in stem:
                for number in self._book.named(stem):
                    items[number] = item
                    times[number] += 1

    def hear_symbols(self, text: str, channel: str, fade: float = 0.5) -> None:
        """Let the files rise that the identifiers of a text are known to belong to."""
        column = SYMBOL_CHANNELS.index(channel)
        table = self._symbols.upto(len(self._book))
        table[:, column] *= fade
        for name in sorted(identifiers(text)):
            for file, weight in self.symbols.files(name).items():
                table[file, column] += weight


def top(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return 1 where a value is among the ``count`` largest and not 0, else 0."""
    if not len(values):
        return values
    least = np.partition(values, -min(count, len(values)))[-min(count, len(values))]
    among: NDArray[np.float64] = (values >= max(least, 1e-9)).astype(np.float64)
    return among
