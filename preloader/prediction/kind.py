"""The online model of one resource kind: its vocabulary, counts, words, weights, and live sessions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from preloader.events import Context, Event, Prediction
from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.contexts import Past
from preloader.prediction.counts import Counts
from preloader.prediction.mixture import Mixture, Scene, Scored
from preloader.prediction.recency import Marks, marks
from preloader.prediction.reuse import Reuse
from preloader.prediction.sessions import Sessions
from preloader.prediction.settings import OnlineSettings
from preloader.prediction.state import fitting
from preloader.prediction.vocabulary import FIRST, NEW, Vocabulary
from preloader.prediction.words import WordArray, WordWeights, heard

_LATER_STEPS_EVERY = 6
"""The weights of the later steps are learned from every sixth item: they cost as much as all the rest."""

_SESSIONS_KNOWN = 32
"""So many sessions at once find the evidence of their last prediction when they learn; it takes 1 kB each."""

_HOPELESS_STEP, _HOPELESS_USE = 1e-4, 1e-3

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Evidence(msgspec.Struct, frozen=True):
    """What is known before an item of the kind."""

    past: Past
    hashes: IntArray
    marks: Marks
    words: WordArray

    def scene(self, rows: IntArray) -> Scene:
        """Return the evidence as the mixture takes it, the same for all steps."""
        marked, slots = self.marks
        return Scene(rows, marked, slots, [self.words])


class _Known(NamedTuple):
    """A session's latest evidence: its next event is learned in the context that it was predicted in."""

    recent: tuple[Event, ...]
    changes: int  # of the vocabulary
    evidence: Evidence


class KindModel:
    """Learns and predicts the items of one kind.

    Args:
        kind: The resource kind.
        settings: Bounds, and which evidence is used.
    """

    def __init__(self, kind: str, settings: OnlineSettings) -> None:
        self.kind = kind
        self._prefix = kind + ":"
        self._settings = settings
        self.vocabulary = Vocabulary(settings.max_keys)
        self.counts = Counts(settings.horizon, settings.max_contexts)
        self.words = WordWeights(settings.horizon, settings.word_bits)
        self.mixture = Mixture(settings.horizon, self.vocabulary, self.counts, self.words)
        self.sessions = Sessions(settings.horizon, settings.max_sessions)
        self.reuse = Reuse(settings.horizon, settings.max_sessions)
        self._learned = 0
        self._scored: tuple[Evidence, int, Scored] | None = None
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def evidence(self, context: Context) -> Evidence:
        """Return what ``context`` tells this kind."""
        slot, changes = (context.user, context.session), self.vocabulary.changes
        known = self._known.pop(slot, None)
        if known is not None and known.changes == changes and known.recent == context.recent:
            self._known[slot] = known
            return known.evidence
        settings = self._settings
        past = Past.of(context, self._prefix)
        hashes = past.hashes(with_user=settings.users, with_time=settings.times)
        words = heard(context) if settings.words else np.zeros(0, np.uint32)
        evidence = Evidence(past, hashes, marks(past.items, self.vocabulary.ids), words)
        self._known[slot] = _Known(context.recent, changes, evidence)
        if len(self._known) > _SESSIONS_KNOWN:
            self._known.popitem(last=False)
        return evidence

    def score(self, evidence: Evidence) -> Scored:
        """Return the probabilities of all candidates at every step."""
        memo = self._scored
        if memo is not None and memo[0] is evidence and memo[1] == self._learned:
            return memo[2]
        scored = self.mixture.score(evidence.scene(self.counts.find(evidence.hashes)))
        self._scored = (evidence, self._learned, scored)
        return scored

    def predict(self, context: Context, steps: int, most: int) -> list[Prediction]:
        """Return at most ``most`` predictions, likeliest next item first, without the hopeless ones."""
        if len(self.vocabulary) == FIRST:
            return []
        scored = self.score(self.evidence(context))
        columns = _likeliest(scored, most)
        uses = self.reuse.estimate(*self.reuse.features(scored, columns))
        told = scored.numbers, scored.probabilities, columns, uses, Prediction, self.vocabulary.keys
        found: list[Prediction] = kernel.active.predictions(*told, steps, _HOPELESS_STEP, _HOPELESS_USE)
        return found

    def uses(self, context: Context, keys: Sequence[str]) -> FloatArray:
        """Return P(used if loaded) and P(used soon) of some keys, not a number of those that are no candidates."""
        found = np.full((2, len(keys)), np.nan)
        if len(self.vocabulary) == FIRST:
            return found
        scored = self.score(self.evidence(context))
        numbers = np.array([self.vocabulary.ids.get(key, NEW) for key in keys], np.int64)
        columns = np.minimum(np.searchsorted(scored.numbers, numbers), len(scored.numbers) - 1)
        known = np.flatnonzero((scored.numbers[columns] == numbers) & (numbers >= FIRST))
        soon, loaded = self.reuse.estimate(*self.reuse.features(scored, columns[known]))
        found[0, known], found[1, known] = loaded, soon
        return found

    def learn(self, context: Context, key: str, time_s: float) -> None:
        """Learn that ``key`` was the next item after ``context``."""
        evidence = self.evidence(context)
        slot = self._slot(context, time_s)
        number = self.vocabulary.ids.get(key)
        if len(self.vocabulary) > FIRST:
            self.mixture.learn(self.score(evidence), number or NEW, 0, 1)
            if not self.reuse.is_open(slot):
                self._watch(slot, evidence)
        rows = self.counts.find_or_add(evidence.hashes)
        items = self.sessions.push(slot, rows, evidence.hashes, evidence.marks, evidence.words)
        rows = self.sessions.rows(slot, items, self.counts)
        if items > 1 and self._learned % _LATER_STEPS_EVERY == 0:
            scene = self.sessions.scene(slot, items, rows)
            self.mixture.learn(self.mixture.score(scene), number or NEW, 1, items)
        is_new = number is None
        if number is None:
            self.counts.count(rows[:items], NEW)
            number = self._name(key)
        self.counts.count(rows[:items], number)
        self.vocabulary.count(number, is_new=is_new)
        self.reuse.came(slot, number, time_s)
        self._learned += 1

    def forget_sessions(self) -> None:
        """Forget the live sessions; what was watched in them is learned as it stands."""
        for slot in range(self._settings.max_sessions):
            self.reuse.close(slot)
        self.sessions = Sessions(self._settings.horizon, self._settings.max_sessions)

    def _slot(self, context: Context, time_s: float) -> int:
        slot, is_new = self.sessions.slot(context.user, context.session)
        if is_new:
            self.reuse.close(slot)
            self.reuse.close_silent(time_s)
        return slot

    def _watch(self, slot: int, evidence: Evidence) -> None:
        scored = self.score(evidence)
        columns = _likeliest(scored, self._settings.max_predictions)
        self.reuse.watch(slot, scored.numbers[columns], *self.reuse.features(scored, columns))

    def _name(self, key: str) -> int:
        """Give a new key its number, making room if need be."""
        if self.vocabulary.is_full:
            gone = self.vocabulary.forget_oldest()
            self.counts.forget_keys(gone)
            self.sessions.forget_keys(gone)
            self.reuse.forget_keys(gone)
        return self.vocabulary.add(key)

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Return the state: what JSON holds, and copies of all arrays."""
        meta, vocabulary = self.vocabulary.dump()
        arrays = {f"vocabulary.{name}": array for name, array in vocabulary.items()}
        arrays |= {f"counts.{name}": array for name, array in self.counts.dump().items()}
        arrays |= {f"words.{name}": array for name, array in self.words.dump().items()}
        for part, held in self._fixed().items():
            arrays |= {f"{part}.{name}": array.copy() for name, array in held.items()}
        state = {"kind": self.kind, "vocabulary": meta, "sessions": self.sessions.names(), "learned": self._learned}
        return state, arrays

    def load(self, meta: dict[str, Any], arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill an empty model with what `dump` returned.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        self.vocabulary.load(meta["vocabulary"], _part(arrays, "vocabulary"))
        numbers = len(self.vocabulary)
        self.counts.load(_part(arrays, "counts"), numbers)
        self.words.load(_part(arrays, "words"))
        self.sessions.load_names(meta["sessions"])
        for part, held in self._fixed().items():
            for name, array in held.items():
                fitting(f"{part}.{name}", arrays[f"{part}.{name}"], array)
                array[...] = arrays[f"{part}.{name}"]
        self._learned = msgspec.convert(meta["learned"], int)
        self.mixture.check()
        self.sessions.check(numbers, self._settings.max_contexts)
        self.reuse.check(numbers)

    def _fixed(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Return the parts whose arrays always have the same shape."""
        return {"mixture": self.mixture.arrays(), "sessions": self.sessions.arrays(), "reuse": self.reuse.arrays()}


def _likeliest(scored: Scored, most: int) -> IntArray:
    """Return the columns of the keys that are likeliest next, likeliest first, ties in the order of their numbers."""
    size = len(scored.numbers)
    chosen = np.empty(min(most, size - FIRST), np.int64)  # two of the candidates are no key's, and stand first
    kernel.active.likeliest(chosen, scored.probabilities, FIRST, size)
    return chosen


def _part(arrays: dict[str, NDArray[np.generic]], part: str) -> dict[str, NDArray[np.generic]]:
    start = part + "."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
