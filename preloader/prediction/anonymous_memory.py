"""What is remembered of an assistant's items of one kind, so that a model without a vocabulary can look at them.

It holds counts and times only, is bounded, and learns from every item in microseconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Annotated, Any

import msgspec
import numpy as np

from preloader.checks import Rule, check, is_whole
from preloader.events import Context
from preloader.ndarray import NDArray
from preloader.prediction.contexts import TEMPLATES, Past
from preloader.prediction.hashing import NONE, constant, text_hash
from preloader.prediction.state import fitting, within
from preloader.prediction.successors import Followers, Successors
from preloader.prediction.words import heard

LAGGED = 3
"""How many contexts say what came two or three items later: the last item, the last two; the last item."""

CONTEXTS = len(TEMPLATES) + LAGGED + 1
"""How many contexts are looked up: those of `contexts`, the lagged ones, and the position in the session."""

WORDS = 40
"""How many of the latest words and word pairs are looked up."""

_LAST_POSITION = 12
_BITS = (1 << 64) - 1
_SECOND, _SECOND_OF_TWO, _THIRD, _POSITION = (
    constant(name) for name in ("second after", "second after two", "third after", "position")
)
_NOVELTY_RATE = 0.05

_COUNT: Rule = (lambda value: is_whole(value, 1) and value < 1 << 24, "a whole number from 1 to 16 million")
_FEW: Rule = (lambda value: is_whole(value, 1) and value <= 1_024, "a whole number from 1 to 1,024")
_RULES: dict[str, Rule] = {
    "candidates": _FEW,
    "recent": _FEW,
    "max_contexts": _COUNT,
    "max_words": _COUNT,
    "max_keys": _COUNT,
    "max_users": _COUNT,
    "max_sessions": _COUNT,
    "max_kinds": _COUNT,
    "max_items": _COUNT,
}


class AnonymousSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an anonymous predictor sees, and how much it remembers.

    Attributes:
        candidates: How many keys it can name at once; the model's shape depends on it.
        recent: How many of the session's latest items the model reads as a sequence; its shape depends on it.
        max_contexts: How many contexts a kind remembers, of about 700 bytes each.
        max_words: How many words and word pairs a kind remembers, of about 700 bytes each.
        max_keys: How many keys a kind knows, of about 400 bytes each.
        max_users: How many users' habits a kind remembers, each with as many keys as there are candidates.
        max_sessions: How many sessions are followed at once.
        max_kinds: How many kinds are learned, where they are not named.
        max_items: After how many items of a kind nothing more is said or learned of it: by then the online predictor
            knows the assistant's own habits, and a network's time is better saved.
    """

    candidates: int = 64
    recent: int = 16
    max_contexts: int = 8_192
    max_words: int = 4_096
    max_keys: int = 4_096
    max_users: int = 256
    max_sessions: int = 256
    max_kinds: int = 16
    max_items: int = 1_000

    def __post_init__(self) -> None:
        check(self, _RULES)


class Known:
    """What is known of one key: at which item it first and last came, and when that was."""

    __slots__ = ("first", "last", "last_s")

    def __init__(self, first: int, last: int, last_s: float) -> None:
        self.first, self.last, self.last_s = first, last, last_s


class Recall(msgspec.Struct, frozen=True, eq=False):
    """What a memory says of one context.

    Attributes:
        past: The session, seen from the kind.
        followers: What came after each of `CONTEXTS` contexts.
        words: What came after each word that was heard.
    """

    past: Past
    followers: list[Followers]
    words: list[Followers]


class Memory:
    """Remembers one kind's items.

    Args:
        kind: It.
        settings: The bounds.

    Attributes:
        items: How many items came.
        novelty: How often a key was new, of late.
        known: Every key it knows, the longest unused first.
    """

    def __init__(self, kind: str, settings: AnonymousSettings) -> None:
        self.kind = kind
        self.items = 0
        self.novelty = 1.0
        self.known: OrderedDict[str, Known] = OrderedDict()
        self._settings = settings
        self._prefix = f"{kind}:"
        self._successors = Successors(settings.max_contexts)
        self._words = Successors(settings.max_words)
        self._users: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def past(self, context: Context) -> Past:
        """Return a session as it looks from this kind."""
        return Past.of(context, self._prefix)

    def recall(self, context: Context) -> Recall:
        """Return what came after contexts like this one; changes nothing."""
        past = self.past(context)
        hashes = [*past.hashes().tolist(), *_lagged(past.items, past.items), _position(past.items)]
        return Recall(past, self._successors.after(hashes), self._words.after(heard(context)[:WORDS].tolist()))

    def recent(self, user: str) -> OrderedDict[str, None]:
        """Return the keys that a user used, the latest last."""
        return self._users.get(user) or OrderedDict()

    def learn(self, context: Context, key: str, time_s: float) -> None:
        """Remember that ``key`` came after ``context``, at ``time_s``."""
        past = self.past(context)
        hashes = [*past.hashes().tolist(), *_lagged(past.items[1:], past.items[2:]), _position(past.items)]
        self._successors.add((value for value in hashes if value != NONE), key)
        self._words.add(heard(context)[:WORDS].tolist(), key)
        self._touch(context.user, key)
        self._note(key, time_s)

    def _note(self, key: str, time_s: float) -> None:
        known = self.known.get(key)
        time_s = time_s if math.isfinite(time_s) else 0.0
        self.novelty += _NOVELTY_RATE * ((known is None) - self.novelty)
        if known is None:
            self.known[key] = Known(self.items, self.items, time_s)
            if len(self.known) > self._settings.max_keys:
                self.known.popitem(last=False)
        else:
            known.last, known.last_s = self.items, time_s
            self.known.move_to_end(key)
        self.items += 1

    def _touch(self, user: str, key: str) -> None:
        keys = self._users.setdefault(user, OrderedDict())
        self._users.move_to_end(user)
        if len(self._users) > self._settings.max_users:
            self._users.popitem(last=False)
        keys[key] = None
        keys.move_to_end(key)
        if len(keys) > self._settings.candidates:
            keys.popitem(last=False)

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Return the state as plain data and arrays."""
        users = list(self._users.values())
        tables = {"after": self._successors, "words": self._words}
        counted = (key for table in tables.values() for key in table.named())
        keys = list(dict.fromkeys([*self.known, *(key for held in users for key in held), *counted]))
        numbers = {key: number for number, key in enumerate(keys)}
        known = list(self.known.values())
        meta = {
            "kind": self.kind,
            "items": self.items,
            "novelty": self.novelty,
            "keys": keys,
            "known": len(known),
            "users": [[user, [numbers[key] for key in held]] for user, held in self._users.items()],
        }
        arrays: dict[str, NDArray[np.generic]] = {
            "first": np.array([one.first for one in known], np.int64),
            "last": np.array([one.last for one in known], np.int64),
            "last_s": np.array([one.last_s for one in known], np.float64),
        }
        for name, table in tables.items():
            arrays.update({f"{name}.{part}": array for part, array in table.dump(numbers).items()})
        return meta, arrays

    def load(self, state: MemoryState, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill an empty memory with what `dump` returned.

        Raises:
            KeyError, ValueError, IndexError: It is damaged.
        """
        keys, known = state.keys, state.known
        if not 0 <= known <= min(len(keys), self._settings.max_keys) or len(state.users) > self._settings.max_users:
            raise ValueError(f"it knows {known} keys and {len(state.users)} users, more than it may")
        for name in ("first", "last", "last_s"):
            fitting(name, arrays[name], np.zeros(0, np.float64 if name == "last_s" else np.int64), known)
        within("first", arrays["first"], 0, state.items)
        within("last", arrays["last"], 0, state.items)
        rows = zip(*(arrays[name].tolist() for name in ("first", "last", "last_s")), strict=True)
        self.known = OrderedDict((key, Known(*row)) for key, row in zip(keys, rows, strict=False))
        self._users = OrderedDict((user, OrderedDict.fromkeys(keys[n] for n in held)) for user, held in state.users)
        self.items, self.novelty = state.items, state.novelty
        for name, table in (("after", self._successors), ("words", self._words)):
            table.load({part: arrays[f"{name}.{part}"] for part in Successors.PARTS}, keys)


class MemoryState(msgspec.Struct, frozen=True):
    """The plain data that `Memory.dump` returns."""

    kind: str
    items: Annotated[int, msgspec.Meta(ge=0)]
    novelty: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    keys: list[str]
    known: int
    users: list[tuple[str, list[Annotated[int, msgspec.Meta(ge=0)]]]]


def _lagged(second: list[str], third: list[str]) -> list[int]:
    """Return the hashes of the contexts two and three items before what comes; `NONE` before there are so many.

    Args:
        second: The items up to two before it, latest first.
        third: The items up to three before it.
    """
    return [
        _SECOND * text_hash(second[0]) & _BITS if second else NONE,
        (_SECOND_OF_TWO * text_hash(second[0]) + _SECOND * text_hash(second[1])) & _BITS if len(second) > 1 else NONE,
        _THIRD * text_hash(third[0]) & _BITS if third else NONE,
    ]


def _position(items: list[str]) -> int:
    return _POSITION * (1 + min(len(items), _LAST_POSITION)) & _BITS
