"""What became of advice, and what its probabilities are worth by that."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from preloader.logodds import LogOddsShifts

HORIZON = 5
"""Within how many of the agent's next calls something must be asked for to have come."""

_LEAST, _MOST = 0.02, 0.95  # models say 0 and 1 of what they cannot know, and nothing corrects these
_ALIKE, _FADING, _KEYS = 1.0, 0.99, 512  # a model that is not known is believed little: ten outcomes outweigh it
_MOST_OPEN = 256


class AdviceRecord:
    """Corrects a model's stated probabilities by outcomes: of files, and of each tool's calls, apart.

    What was never advised is taken at the model's word, between .02 and .95.
    """

    def __init__(self) -> None:
        self._shifts = LogOddsShifts(alike=_ALIKE, fading=_FADING, keys=_KEYS)

    def corrected(self, sort: str, stated: float) -> float:
        """Return the probability that something of a sort comes of which ``stated`` is said."""
        return self._shifts.shifted(sort, _kept(stated))

    def learn(self, sort: str, stated: float, came: bool) -> None:
        """Take in whether it came."""
        self._shifts.learn(sort, _kept(stated), came)


def _kept(stated: float) -> float:
    return min(max(stated, _LEAST), _MOST)


class _Open(msgspec.Struct):
    sort: str
    stated: float
    calls: int = 0


class OpenAdvice:
    """What was advised and is neither used nor out of its horizon; each outcome is learned once.

    Args:
        record: Who learns.
    """

    def __init__(self, record: AdviceRecord) -> None:
        self._record = record
        self._open: dict[str, _Open] = {}

    def add(self, key: str, sort: str, stated: float) -> None:
        """Wait for the outcome of a key. What is said of it again is heard, but its horizon stays."""
        known = self._open.get(key)
        if known is not None:
            known.stated = stated
        elif len(self._open) < _MOST_OPEN:
            self._open[key] = _Open(sort, stated)

    def use(self, key: str) -> bool:
        """Note that a key was asked for; return whether it was advised."""
        used = self._open.pop(key, None)
        if used is not None:
            self._record.learn(used.sort, used.stated, came=True)
        return used is not None

    def step(self) -> int:
        """Note that a call was made; return of how many keys the horizon ended."""
        return sum(1 for _ in self._ended())

    def forget(self) -> None:
        """The query is over: whether its advice would have been used is not known."""
        self._open.clear()

    def _ended(self) -> Iterator[str]:
        for key, one in list(self._open.items()):
            one.calls += 1
            if one.calls > HORIZON:
                del self._open[key]
                self._record.learn(one.sort, one.stated, came=False)
                yield key
