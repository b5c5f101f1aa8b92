"""The contexts whose successors are counted: subsets of what is known of a session, each hashed to one number.

A context's hash is the sum of its ingredients' hashes, each times an odd 64-bit constant of its own, and of a constant
of the sort of context (multilinear hashing, Carter & Wegman 1981), so that all contexts share the products.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import msgspec
import numpy as np

from preloader.events import Context, Event
from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.hashing import NONE, constant, text_hash

IntArray = NDArray[np.int64]

_LONGEST_RUN = 12
_ITEMS = 20  # a session's older items say little, and one event may use thousands
_HOUR_S, _DAY_S = 3_600, 86_400
_DETAILS = 2  # readers state an event's most general resources first; the rest is too particular to come again


class Template(msgspec.Struct, frozen=True):
    """One sort of context: which ingredients it is made of.

    Attributes:
        ingredients: Names from `INGREDIENTS`.
    """

    ingredients: tuple[str, ...]

    @property
    def scope(self) -> str:
        """Whose counts it holds."""
        return "user" if "user" in self.ingredients else "global"

    @property
    def order(self) -> int:
        """How many earlier items it looks at."""
        return sum(name in self.ingredients for name in ("last", "second", "third"))


def _templates(*lines: str) -> tuple[Template, ...]:
    return tuple(Template(tuple(line.split())) for line in lines)


INGREDIENTS = (
    *("user", "last", "second", "third"),
    *("deed", "earlier_deed", "details", "earlier_details"),
    *("run", "circumstances", "time"),
)
TEMPLATES = _templates(
    "",
    "last",
    "last second",
    "last second third",
    "deed last",
    "deed earlier_deed",
    "details",
    "details earlier_details",
    "run deed",
    "circumstances time last",
    "user",
    "user last",
    "user last second",
    "user details",
    "user details earlier_details",
    "user circumstances time last",
)
"""Every context that is looked up, the shortest of each scope first."""

_MULTIPLIERS = np.array([constant(name) for name in INGREDIENTS], np.uint64)
_STARTS = np.array([constant(f"template {index}") for index in range(len(TEMPLATES))], np.uint64)
_MEMBERS = np.array([[name in template.ingredients for name in INGREDIENTS] for template in TEMPLATES], np.uint8)


class Past(msgspec.Struct, frozen=True):
    """What a kind's contexts are made from: a session seen from one kind of item.

    Attributes:
        context: The session.
        items: Its keys of the kind, latest first, at most 20.
        run: How many events ago the latest event without any resource was, at most 12.
    """

    context: Context
    items: list[str]
    run: int

    @classmethod
    def of(cls, context: Context, prefix: str) -> Past:
        """Return the past for the kind whose keys begin with ``prefix``."""
        used = [event.resources for event in context.recent]
        items, run = kernel.active.past(used, prefix, _ITEMS, _LONGEST_RUN)
        return cls(context, items, run)

    def hashes(self, *, with_user: bool = True, with_time: bool = True) -> IntArray:
        """Return one 62-bit hash for each of `TEMPLATES`; without user or time, these count as unknown."""
        recent = self.context.recent
        latest = recent[-1] if recent else None
        earlier = recent[-2] if len(recent) > 1 else None
        items = [text_hash(key) for key in self.items[:3]]
        items += [NONE] * (3 - len(items))
        ingredients = (
            text_hash(self.context.user) if with_user else NONE,
            *items,
            _deed_hash(latest),
            _deed_hash(earlier),
            _details_hash(latest),
            _details_hash(earlier),
            self.run,
            _circumstances_hash(latest),
            _time_slot(latest) if with_time else NONE,
        )
        hashes = np.empty(len(TEMPLATES), np.int64)
        kernel.active.mix(hashes, _MULTIPLIERS, _STARTS, _MEMBERS, ingredients)
        return hashes

    def describe(self, template: Template) -> str:
        """Return a context in words."""
        said = [_IN_WORDS[name](self) for name in template.ingredients]
        return ", ".join(said) or "at any time"


def _deed_hash(event: Event | None) -> int:
    if event is None:
        return NONE
    return text_hash(event.action, 2 if event.ok is None else 3 + event.ok)


def _details_hash(event: Event | None) -> int:
    if event is None:
        return NONE
    value = text_hash(event.action)
    for key in event.resources[:_DETAILS]:
        value = text_hash(key, value)
    return value


def _circumstances_hash(event: Event | None) -> int:
    if event is None or not event.context:
        return NONE
    return text_hash(_circumstances(event))


def _circumstances(event: Event) -> str:
    """Return place, device and the like; measured quantities would never come again."""
    return ", ".join(f"{name}={value}" for name, value in sorted(event.context.items()) if not isinstance(value, float))


def _time_slot(event: Event | None) -> int:
    """Return the hour of the day, apart for weekends, from 1."""
    if event is None or not math.isfinite(event.time_s):
        return NONE
    days, second = divmod(event.time_s, _DAY_S)
    is_weekend = (days + 3) % 7 >= 5  # 1 January 1970 was a Thursday
    return 1 + int(second // _HOUR_S) + 24 * is_weekend


def _named(items: list[str], index: int) -> str:
    return items[index] if len(items) > index else "the start"


def _deed_in_words(event: Event | None) -> str:
    if event is None:
        return "nothing"
    how = "" if event.ok is None else " which succeeded" if event.ok else " which failed"
    return repr(event.action) + how


def _details_in_words(event: Event | None) -> str:
    if event is None:
        return "nothing"
    return " ".join([event.action, *event.resources[:_DETAILS]])


def _latest(past: Past, back: int = 1) -> Event | None:
    recent = past.context.recent
    return recent[-back] if len(recent) >= back else None


def _time_in_words(past: Past) -> str:
    latest = _latest(past)
    if latest is None or not _time_slot(latest):
        return "at no time"
    return time.strftime("%A about %H h UTC", time.gmtime(latest.time_s))


def _circumstances_in_words(past: Past) -> str:
    latest = _latest(past)
    return ("" if latest is None else _circumstances(latest)) or "no circumstances"


_IN_WORDS: dict[str, Callable[[Past], str]] = {
    "user": lambda past: f"user {past.context.user!r}",
    "last": lambda past: f"after {_named(past.items, 0)}",
    "second": lambda past: f"second to last {_named(past.items, 1)}",
    "third": lambda past: f"third to last {_named(past.items, 2)}",
    "deed": lambda past: f"latest action {_deed_in_words(_latest(past))}",
    "earlier_deed": lambda past: f"action before {_deed_in_words(_latest(past, 2))}",
    "details": lambda past: f"latest event {_details_in_words(_latest(past))}",
    "earlier_details": lambda past: f"event before {_details_in_words(_latest(past, 2))}",
    "run": lambda past: f"{past.run} events in a row",
    "circumstances": _circumstances_in_words,
    "time": _time_in_words,
}
