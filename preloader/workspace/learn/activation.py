"""Which paths the words and identifiers of the latest text point at, without naming them."""

from __future__ import annotations

import math
import re
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
_MOST_DEFINING = 4
_NAME = re.compile(r"[A-Za-z_]\w{3,80}")


class Symbols:
    """The files that identifiers stood beside: in a search's line, in a file that was read, in a sentence."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, dict[int, float]] = OrderedDict()
        self._defining: OrderedDict[str, set[int]] = OrderedDict()
        self.learned: deque[tuple[str, int]] = deque(maxlen=_MOST_TAUGHT)
        self.defined: deque[tuple[str, int]] = deque(maxlen=_MOST_TAUGHT)

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

    def define(self, file: int, name: str, *, now: bool = True) -> None:
        """Take that a file defines a name; ``now`` in this session."""
        self._defining.setdefault(name, set()).add(file)
        self._defining.move_to_end(name)
        if len(self._defining) > _MOST_IDENTIFIERS:
            self._defining.popitem(last=False)
        if now:
            self.defined.append((name, file))

    def defining(self, name: str) -> set[int]:
        """Return the files that were seen to define a name; none if too many."""
        files = self._defining.get(name, set())
        return files if len(files) <= _MOST_DEFINING else set()

    def keep(self, number: Mapping[int, int]) -> None:
        """Forget all files but those that have a new number, which they have from now on."""
        for name, files in list(self._files.items()):
            self._files[name] = {number[file]: weight for file, weight in files.items() if file in number}
            if not self._files[name]:
                del self._files[name]
        for name, defining in list(self._defining.items()):
            self._defining[name] = {number[file] for file in defining if file in number}
            if not self._defining[name]:
                del self._defining[name]
        self.learned = deque(((name, number[file]) for name, file in self.learned if file in number), _MOST_TAUGHT)
        self.defined = deque(((name, number[file]) for name, file in self.defined if file in number), _MOST_TAUGHT)

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
        self._covered = Grown(len(WORD_CHANNELS))
        self._symbols = Grown(len(SYMBOL_CHANNELS))
        self._defines = Grown(2)
        self._stem_item = Grown(1, NEVER)
        self._stem_times = Grown(1)

    def keep(self, rows: NDArray[np.int64], number: Mapping[int, int]) -> None:
        """Forget all paths but these, which have new numbers: those of the rows that they become."""
        for table in (self._words, self._covered, self._symbols, self._defines, self._stem_item, self._stem_times):
            table.keep(rows)
        self.symbols.keep(number)

    def words(self, rows: int) -> NDArray[np.float64]:
        """Return how strongly words point at the first paths: (paths, `WORD_CHANNELS`)."""
        return self._words.upto(rows)

    def covered(self, rows: int) -> NDArray[np.float64]:
        """Return how much of each path's last part words said: (paths, `WORD_CHANNELS`)."""
        return self._covered.upto(rows)

    def defines(self, rows: int) -> NDArray[np.float64]:
        """Return how many names each file defines that were said, and that were searched or returned: (paths, 2)."""
        return self._defines.upto(rows)

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
        covered = self._covered.upto(count)
        covered[:, column] *= 0.5
        for word in sorted(words(text)):  # sums depend on the order, if by little
            sharing = self._book.sharing(word)
            if sharing:
                rarity = math.log(1 + count / len(sharing))
                for number, share in sharing:
                    table[number, column] += rarity * share
                    if share == 1.0:
                        covered[number, column] += 1 / len(self._book.facts[number].words)
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
        defines = self._defines.upto(len(self._book))
        side = int(channel == "returned")
        defines[:, side] *= fade
        for name in sorted(set(_NAME.findall(text[:65_536]))):
            for file in self.symbols.defining(name):
                defines[file, side] += 1


def top(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return 1 where a value is among the ``count`` largest and not 0, else 0."""
    if not len(values):
        return values
    least = np.partition(values, -min(count, len(values)))[-min(count, len(values))]
    among: NDArray[np.float64] = (values >= max(least, 1e-9)).astype(np.float64)
    return among
