"""Puts files before the manager that an agent may read next: no more than a few new ones between two calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from preloader.errors import UnknownResourceError
from preloader.telemetry import logger
from preloader.workspace.expecting import Expected
from preloader.workspace.learn.preparing import NEW_FILES_A_STEP
from preloader.workspace.learn.ranker import Ranked


class Offers:
    """Offers files, the likeliest first, and those again that were refused or given up: later more may speak for them.

    Args:
        file_key: Returns the key of a path.
        holds: Says of a key whether it is ready or on its way.
        expect: Takes what will probably be needed.
    """

    def __init__(
        self, file_key: Callable[[str], str], holds: Callable[[str], bool], expect: Callable[[Expected], None]
    ) -> None:
        self._file_key = file_key
        self._holds = holds
        self._expect = expect
        self._offered: set[str] = set()  # since the last call

    def step(self) -> None:
        """A call was made: there is room for new files."""
        self._offered.clear()

    def offer(self, files: Iterable[Ranked]) -> None:
        """Offer what is not held yet, as far as there is room; the likeliest come first."""
        room = NEW_FILES_A_STEP - sum(map(self._holds, self._offered))
        for file in files:
            if room <= 0:
                return
            key = self._key(file.path)
            if key and not self._holds(key):
                self._expect(Expected(key, file.probability))
                self._offered.add(key)
                room -= 1

    def announced(self, path: str, probability: float) -> None:
        """Offer a file that the next call names, whether there is room or not."""
        if key := self._key(path):
            self._expect(Expected(key, probability, steps=1))

    def _key(self, path: str) -> str:
        try:
            return self._file_key(path)
        except UnknownResourceError as error:  # an index names what may not be looked at, too
            logger.debug("%s", error)
            return ""
