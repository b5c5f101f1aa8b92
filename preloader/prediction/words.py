"""Which words were heard lately, and how much each speaks for each key."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import pairwise

import numpy as np

from preloader.events import Context
from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.hashing import constant, text_hash
from preloader.prediction.state import fitting, within
from preloader.prediction.words_twin import word_places

MAX_WORDS = 96
"""How many words and word pairs are looked at."""

_TEXTS = 3
_WORDS_A_TEXT = 32
_WORD = re.compile(r"\w+|[^\w\s]")
_LOOKBACK = 16  # events
_MULTIPLIER = constant("words") & 0xFFFF_FFFF
_RATES = (0.6, 0.12)  # of the first step, and of the others, whose words say less
_GAINS, _GAIN_RATE = (1.0, 0.5, 0.5, 0.5), 0.05
_FIRST_SQUARES = 0.1
_SMALL = 1e-4
_AGE = np.uint32(len(_GAINS) - 1)

WordArray = NDArray[np.uint32]
FloatArray = NDArray[np.float32]

_SILENCE = np.zeros(0, np.uint32)


def heard(context: Context) -> WordArray:
    """Return hashes of the words of the latest three texts, and of the latest one's word pairs, at most `MAX_WORDS`.

    The same word is another one in an earlier text, or in somebody else's mouth. How old its text is stands in the two
    lowest bits of the hash, 0 for the latest.
    """
    texts = [(event.text, event.action) for event in context.recent[-_LOOKBACK:] if event.text]
    return _said(tuple(texts[: -_TEXTS - 1 : -1])) if texts else _SILENCE


def spoken(context: Context) -> list[str]:
    """Return the words and word pairs of the latest text, as they are shown to a person."""
    for event in reversed(context.recent[-_LOOKBACK:]):
        if event.text:
            words = _tokens(event.text)
            return [*words, *(f"{first} {second}" for first, second in pairwise(words))]
    return []


def _tokens(text: str) -> list[str]:
    return list(dict.fromkeys(_WORD.findall(text[:1_000].lower())[:_WORDS_A_TEXT]))


@lru_cache(maxsize=512)  # the latest texts are heard anew with every event
def _said(texts: tuple[tuple[str, str], ...]) -> WordArray:
    """Return the hashes of the words of some texts, of which each is given with its action, latest first."""
    found: list[WordArray] = []
    for age, (text, action) in enumerate(texts):
        words, pairs = _hashes(text)
        salt = np.uint32(text_hash(action, age))
        said = words if age else np.concatenate([words, pairs])
        found.append(((said ^ salt) & ~_AGE) | np.uint32(age))
    heard = np.concatenate(found)[:MAX_WORDS]
    heard.flags.writeable = False  # whoever hears them next is given the same array
    return heard


@lru_cache(maxsize=256)
def _hashes(text: str) -> tuple[WordArray, WordArray]:
    words = _tokens(text)
    single = [text_hash(word) for word in words]
    pairs = [text_hash(second, first) for first, second in zip(single, words[1:], strict=False)]
    return np.array(single, np.uint32), np.array(pairs, np.uint32)


class WordWeights:
    """A sparse linear softmax over hashed (word, key) pairs (Weinberger et al. 2009), learned by Adagrad.

    What was said before the latest text matters in a dialogue that is about one thing, and misleads where each text is
    a command of its own: a gain for each age of a text is learned beside the weights.

    Takes ``(8 · horizon + 1) · 2^bits`` bytes, of which nothing is touched before the first text.

    Args:
        horizon: How many steps ahead.
        bits: The logarithm of how many pairs are told apart.
    """

    def __init__(self, horizon: int, bits: int) -> None:
        self._weights = np.zeros((1 << bits, horizon), np.float32)
        self._squares = np.zeros((1 << bits, horizon), np.float32)
        self._gains = np.tile(np.array(_GAINS, np.float32), (horizon, 1))
        self._gain_squares = np.full_like(self._gains, _FIRST_SQUARES)
        self._shift = 32 - bits
        self._rates = [_RATES[min(step, 1)] for step in range(horizon)]
        self._is_learned = np.zeros(1 << bits, np.bool_)

    def evidence(self, words: WordArray, keys: WordArray) -> FloatArray:
        """Return how much each word speaks for each key at each step, shape (words, keys, horizon).

        Args:
            words: What `heard` returned.
            keys: The hashes of the keys.
        """
        places = word_places(words, keys, _MULTIPLIER, self._shift)
        gains = self._gains.T[words & _AGE][:, None, :]
        said: FloatArray = self._weights[places] * gains * np.float32(_scale(len(words)))
        return said

    def score(self, table: NDArray[np.float64], words: WordArray, keys: WordArray, first: int, last: int) -> None:
        """Add the evidence of words to the scores of the steps from ``first`` to before ``last``."""
        shift, scale = self._shift, _scale(len(words))
        kernel.active.score_words(
            table, self._weights, self._gains, words, keys, first, last, _MULTIPLIER, shift, scale
        )

    def learn(
        self, words: WordArray, keys: WordArray, probabilities: NDArray[np.float64], column: int, step: int
    ) -> None:
        """Move the weights of one step from the keys' probabilities towards the key of ``column``, which came."""
        state = self._weights, self._squares, self._is_learned, self._gains, self._gain_squares
        numbers = step, _MULTIPLIER, self._shift, _scale(len(words)), self._rates[step], _GAIN_RATE, _SMALL
        kernel.active.learn_words(*state, words, keys, probabilities, column, *numbers)

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as copies of arrays: the pairs that were learned, and where they stand."""
        at = np.flatnonzero(self._is_learned)
        return {
            "at": at,
            "weights": self._weights.take(at, axis=0),
            "squares": self._squares.take(at, axis=0),
            "gains": self._gains.copy(),
            "gain_squares": self._gain_squares.copy(),
        }

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill an empty table with what `dump` returned.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        at = arrays["at"]
        used = len(at)
        fitting("at", at, np.zeros(used, np.int64))
        within("at", at, 0, len(self._weights) - 1)
        fitting("weights", arrays["weights"], self._weights, used)
        fitting("squares", arrays["squares"], self._squares, used)
        within("squares", arrays["squares"], 0.0, np.inf)
        for name, held in (("gains", self._gains), ("gain_squares", self._gain_squares)):
            fitting(name, arrays[name], held)
            within(name, arrays[name], 0.0, np.inf)
            held[...] = arrays[name]
        self._is_learned[at] = True
        self._weights[at] = arrays["weights"]
        self._squares[at] = arrays["squares"]


@lru_cache(maxsize=MAX_WORDS + 1)
def _scale(words: int) -> float:
    """Let long texts not speak louder than short ones: in single precision, as the weights are."""
    return float(np.float32(1.0 / math.sqrt(max(words, 1))))
