"""What a sequence model sees of a context: arrays of fixed shapes, made the same way in training and at run time.

Everything comes from the `Context` alone, so nothing can be known that may not be (``docs/protocols.md``). Names and
words are hashed (Weinberger et al., *Feature Hashing for Large Scale Multitask Learning*, 2009), so that what was never
seen in training still has a place; only the keys that are predicted have numbers of their own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec
import numpy as np

from preloader.checks import Rule, check, is_whole
from preloader.events import Context, Event
from preloader.ndarray import NDArray
from preloader.prediction.encoder import TextEncoder
from preloader.prediction.hashing import text_hash

Arrays = dict[str, NDArray[np.generic]]

OUTSIDE = 0
"""The number of every key outside the vocabulary; the vocabulary's keys follow from 1."""

AGES = 12
"""How many values an entry of ``ages`` takes."""

COUNTS = 7
"""How many values an entry of ``counts`` takes."""

FLAGS = 11
"""How many numbers describe a row's circumstances."""

MOMENTS = 8
"""How many numbers describe the moment."""

_AGE_BOUNDS = (1, 2, 3, 4, 6, 9, 13, 19)
_CIRCUMSTANCES = 4
_WORD = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"[A-Za-z]+|\d+")
_FILE = "file:"
_MAX_TEXT = 2_000
_DAY_S, _WEEK_S = 86_400.0, 604_800.0

_COUNT: Rule = (lambda value: is_whole(value, 1) and value <= 1_024, "a whole number from 1 to 1,024")
_FEW: Rule = (lambda value: is_whole(value, 0) and value <= 1_024, "a whole number from 0 to 1,024")
_BITS: Rule = (lambda value: is_whole(value, 6) and value <= 18, "a whole number from 6 to 18")
_RULES: dict[str, Rule] = {
    "rows": _COUNT,
    "pieces": _COUNT,
    "piece_bits": _BITS,
    "texts": _COUNT,
    "words": _COUNT,
    "word_bits": _BITS,
    "characters": _FEW,
}


class FeatureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which features a sequence model sees, and how many of each.

    Attributes:
        rows: How many of the session's latest items and other events; an event that used n items of the kind is n rows.
        pieces: How many hashed pieces of names describe each row.
        piece_bits: The logarithm of how many pieces are told apart.
        texts: How many of the latest texts are heard.
        words: How many hashed words, word pairs and pieces of words of each.
        word_bits: The logarithm of how many words are told apart.
        characters: Length of the pieces of words that are heard, too; 0 for none.
        use_words: Whether texts are evidence.
        use_times: Whether time of day, gaps and durations are evidence.
        use_users: Whether users are told apart.
        encoder: The folder of a sentence encoder that hears the latest text, too; none if empty. It is looked at in
            training only: what is trained knows its encoder by its hash.
    """

    rows: int = 16
    pieces: int = 8
    piece_bits: int = 11
    texts: int = 3
    words: int = 64
    word_bits: int = 13
    characters: int = 0
    use_words: bool = True
    use_times: bool = True
    use_users: bool = True
    encoder: str = ""

    def __post_init__(self) -> None:
        check(self, _RULES)
        if self.encoder and not self.use_words:
            raise ValueError(f"encoder {self.encoder!r} hears texts, and use_words = false says that there are none")


class Features:
    """Makes arrays of contexts, for one kind of item.

    ==================  ===================  =====================================================================
    array               shape                what it holds
    ==================  ===================  =====================================================================
    ``items``           (rows,) int32        each row's key, oldest first; V + 1 without an item, V + 2 before the start
    ``pieces``          (rows, pieces)       hashed pieces of what else it did and used; 0 for none
    ``flags``           (rows, `FLAGS`)      success and failure, text, repetition, gap, duration, return to a resource
    ``ages``            (V + 1,) int32       how many items ago each key was last used, in `AGES` buckets; 0 for never
    ``counts``          (V + 1,) int32       the bits of how often each key was used, `COUNTS` - 1 at most
    ``words``           (texts, words)       hashed words of the latest texts, latest first; 0 for none
    ``word_weights``    (texts, words)       1 / √n for each of a text's n words
    ``circumstances``   (4,) int32           hashed entries of the latest context mapping; 0 for none
    ``moment``          (`MOMENTS`,)         time of day and week as angles, position in the session, and gaps
    ``sentence``        (encoder's width,)   the latest text as a vector, where there is an encoder; 0 for none
    ==================  ===================  =====================================================================

    Args:
        kind: The kind of the items.
        vocabulary: Its keys; number n + 1 is the n-th of them.
        settings: How many of each.
        encoder: What makes ``sentence``, at once. At run time that is left to a thread, and there is none here.
    """

    def __init__(
        self,
        kind: str,
        vocabulary: Sequence[str],
        settings: FeatureSettings | None = None,
        encoder: TextEncoder | None = None,
    ) -> None:
        self.kind = kind
        self.encoder = encoder
        self.vocabulary = tuple(vocabulary)
        self.settings = settings or FeatureSettings()
        self._prefix = f"{kind}:"
        self._numbers = {key: number for number, key in enumerate(self.vocabulary, start=1)}
        self._no_item = len(self.vocabulary) + 1
        self._before = len(self.vocabulary) + 2

    def number(self, key: str) -> int:
        """Return a key's number; `OUTSIDE` for one outside the vocabulary."""
        return self._numbers.get(key, OUTSIDE)

    def of(self, context: Context) -> Arrays:
        """Return the arrays of one context, without a batch dimension."""
        rows = _rows(context.recent, self._prefix, self.settings.rows)
        arrays: Arrays = {
            "ages": self._ages(context),
            "counts": self._counts(context),
            "circumstances": _circumstances(context, 1 << self.settings.piece_bits),
            "moment": _moment(context, self.settings.use_times),
        }
        arrays["items"], arrays["pieces"], arrays["flags"] = self._described(rows)
        arrays["words"], arrays["word_weights"] = self._heard(context.recent)
        if self.encoder is not None:
            arrays["sentence"] = self.encoder.encode([latest_text(context)])[0]
        return arrays

    def _described(self, rows: Sequence[_Row]) -> tuple[NDArray[np.generic], ...]:
        settings = self.settings
        items = np.full(settings.rows, self._before, np.int32)
        pieces = np.zeros((settings.rows, settings.pieces), np.int32)
        flags = np.zeros((settings.rows, FLAGS), np.float32)
        start = settings.rows - len(rows)
        for at, row in enumerate(rows, start):
            items[at] = self._no_item if row.key is None else self.number(row.key)
            said = _pieces(row.event.action, row.event.resources, settings.pieces, 1 << settings.piece_bits)
            pieces[at, : len(said)] = said
            flags[at] = _flags(row, settings.use_times)
        return items, pieces, flags

    def _ages(self, context: Context) -> NDArray[np.int32]:
        ages = np.zeros(len(self.vocabulary) + 1, np.int32)
        met: dict[int, int] = {}
        for back, key in enumerate(context.items(self.kind), start=1):
            number = self.number(key)
            met[number] = met.get(number, 0) + 1
            if met[number] == 1:
                ages[number] = _age(back)
            elif met[number] == 2 and back == 2:
                ages[number] = AGES - 1  # twice in a row
        return ages

    def _counts(self, context: Context) -> NDArray[np.int32]:
        counts = np.zeros(len(self.vocabulary) + 1, np.int32)
        for key, count in Counter(context.items(self.kind)).items():
            counts[self.number(key)] += count
        bits: NDArray[np.int32] = np.frexp(counts)[1]  # 0, 1, 2 of 2-3, 3 of 4-7, …
        return np.minimum(bits, COUNTS - 1)

    def _heard(self, recent: Sequence[Event]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        settings = self.settings
        words = np.zeros((settings.texts, settings.words), np.int32)
        weights = np.zeros((settings.texts, settings.words), np.float32)
        texts = (event for event in reversed(recent) if event.text) if settings.use_words else ()
        for at, event in zip(range(settings.texts), texts, strict=False):
            heard = _words(event.text or "", event.action, settings.words, settings.word_bits, settings.characters)
            words[at, : len(heard)] = heard
            weights[at, : len(heard)] = 1.0 / math.sqrt(max(len(heard), 1))
        return words, weights


def latest_text(context: Context) -> str:
    """Return as much of the latest text as is heard; an empty one where there is none."""
    return next((event.text[:_MAX_TEXT] for event in reversed(context.recent) if event.text), "")


def stack(rows: Iterable[Mapping[str, NDArray[np.generic]]]) -> Arrays:
    """Return the arrays of several contexts as one batch."""
    held = list(rows)
    return {name: np.stack([row[name] for row in held]) for name in held[0]}


class _Row(msgspec.Struct, frozen=True):
    event: Event
    key: str | None
    run: int  # how many rows in a row had this key, this one included
    gap_s: float
    back: int | None  # how many events ago the resource that it used last, of another kind, was used before; 0 if never


def _rows(recent: Sequence[Event], prefix: str, count: int) -> list[_Row]:
    """Return the latest rows, oldest first."""
    rows: list[_Row] = []
    latest: str | None = None
    run = 0
    met: dict[str, int] = {}
    for number, event in enumerate(recent):
        gap_s = event.time_s - recent[number - 1].time_s if number else 0.0
        keys = [key for key in event.resources if key.startswith(prefix)]
        beside = next((key for key in reversed(event.resources) if not key.startswith(prefix)), None)
        back = None if beside is None else number - met.get(beside, number)
        met.update(dict.fromkeys(event.resources, number))
        for key in keys[-count:]:
            run = run + 1 if key == latest else 1
            latest = key
            rows.append(_Row(event, key, run, gap_s, back))
        if not keys:
            rows.append(_Row(event, None, 0, gap_s, back))
    return rows[-count:]


def _flags(row: _Row, use_times: bool) -> tuple[float, ...]:
    event = row.event
    return (
        float(event.ok is True),
        float(event.ok is False),
        float(event.text is not None),
        float(row.run > 1),
        math.log1p(row.run) / 2,
        float(row.back is not None),
        float(row.back == 0),
        1.0 / row.back if row.back else 0.0,
        _log(row.gap_s) if use_times else 0.0,
        _log(event.duration_s) if use_times and event.duration_s is not None else 0.0,
        float(use_times and event.duration_s is not None),
    )


def _log(seconds: float) -> float:
    """Return a time on a logarithmic scale, about 0 to 2; what is no time counts as none."""
    return math.log1p(min(max(seconds, 0.0), 1e7)) / 8 if math.isfinite(seconds) else 0.0


def _age(back: int) -> int:
    return 1 + sum(back > bound for bound in _AGE_BOUNDS)


@lru_cache(maxsize=8_192)
def _pieces(action: str, resources: tuple[str, ...], most: int, buckets: int) -> tuple[int, ...]:
    """Return hashes of the action, of every resource, and of the pieces of their names.

    A file seldom comes again in another session, so its suffix and its first directory stand for it.
    """
    names = [key[:200] for key in resources[:8]]
    files = [name.removeprefix(_FILE) for name in names if name.startswith(_FILE)]
    others = [name for name in names if not name.startswith(_FILE)]
    found = [text_hash(action, 7), *(text_hash(name, 11) for name in others)]
    for file in files:
        found += [text_hash(file.rpartition("/")[2].rpartition(".")[2], 37), text_hash(file.partition("/")[0], 41)]
    for name in others:
        found += [text_hash(piece.lower(), 13) for piece in _PIECE.findall(name.partition(":")[2])]
    return tuple(1 + value % (buckets - 1) for value in dict.fromkeys(found))[:most]


@lru_cache(maxsize=1_024)
def _words(text: str, action: str, most: int, bits: int, characters: int) -> NDArray[np.int32]:
    """Return hashes of words, of word pairs and, where asked for, of the words' pieces; the same word counts once."""
    words = _WORD.findall(text[:_MAX_TEXT].lower())[: most // 2]
    found = [text_hash(action, 17), *(text_hash(word, 19) for word in words)]
    found += [text_hash(second, text_hash(first, 23)) for first, second in pairwise(words)]
    if characters:
        found += [text_hash(piece, 29) for word in words for piece in _cut(word, characters)]
    return np.array([1 + value % ((1 << bits) - 1) for value in list(dict.fromkeys(found))[:most]], np.int32)


def _cut(word: str, length: int) -> list[str]:
    padded = f"<{word}>"
    return [padded[at : at + length] for at in range(max(len(padded) - length + 1, 0))]


def _circumstances(context: Context, buckets: int) -> NDArray[np.int32]:
    """Return hashes of place, device and the like; measured quantities would never come again."""
    found = np.zeros(_CIRCUMSTANCES, np.int32)
    entries = sorted(context.recent[-1].context.items()) if context.recent else ()
    plain = [f"{name}={value}" for name, value in entries if not isinstance(value, float)]
    for at, entry in enumerate(plain[:_CIRCUMSTANCES]):
        found[at] = 1 + text_hash(entry, 31) % (buckets - 1)
    return found


def _moment(context: Context, use_times: bool) -> NDArray[np.float32]:
    recent = context.recent
    moment = np.zeros(MOMENTS, np.float32)
    moment[0] = math.log1p(len(recent)) / 4
    moment[1] = float(len(recent) == 0)
    time_s = context.time_s
    if time_s is None or not use_times or not math.isfinite(time_s):
        return moment
    day, week = 2 * math.pi * (time_s % _DAY_S) / _DAY_S, 2 * math.pi * (time_s % _WEEK_S) / _WEEK_S
    moment[2:6] = math.sin(day), math.cos(day), math.sin(week), math.cos(week)
    moment[6] = _log(time_s - recent[0].time_s)
    moment[7] = _log(time_s - recent[-2].time_s) if len(recent) > 1 else 0.0
    return moment
