"""How paths are related by name and by their repository's past: numbers that stay, so they are worked out once."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.evidence import Grown
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.path_book import PathBook, PathFacts

KINSHIP = ("same_directory", "common_parts", "tree_distance", "twin", "shared_words")
"""How a path is related to another: columns of `Kinship.to`."""

TRAITS = (
    *("parts", "is_test", "is_document", "is_outside"),
    *("past_read", "past_edited", "past_reads", "past_recent", "past_last", "past_read_when_named", "past_used"),
)
"""What a path is by itself, and what earlier sessions did with it: columns of `Kinship.traits`."""

_LONG_AGO = 999.0
_MOST_OTHERS = 32  # paths to which relations are kept: several times as many as are asked about at once

Matrix = NDArray[np.float64]


class Kinship:
    """Relations between the paths of a session, which grow with its book.

    Args:
        book: The paths.
        habits: What earlier sessions did with them; it does not change during the session.
    """

    def __init__(self, book: PathBook, habits: Habits) -> None:
        self._book = book
        self._habits = habits
        self.forget()

    def forget(self) -> None:
        """Work everything out anew: the book's paths have other numbers."""
        self._related: OrderedDict[int, tuple[Grown, int]] = OrderedDict()
        self._traits = Grown(len(TRAITS))
        self._known_traits = 0
        self._uses = self._habits.words.used.total()
        self._past: OrderedDict[tuple[str, int], Matrix] = OrderedDict()

    def to(self, other: int) -> Matrix:
        """Return how each path is related to one: (paths, `KINSHIP`)."""
        count = len(self._book)
        grown, known = self._related.get(other, (Grown(len(KINSHIP)), 0))
        table = grown.upto(count)
        if known < count:
            facts = self._book.facts
            table[known:] = [_kin(one, facts[other]) for one in facts[known:]]
        self._related[other] = grown, count
        self._related.move_to_end(other)
        if len(self._related) > _MOST_OTHERS:
            self._related.popitem(last=False)
        return table

    def traits(self) -> Matrix:
        """Return what each path is by itself: (paths, `TRAITS`)."""
        count = len(self._book)
        table = self._traits.upto(count)
        if self._known_traits < count:
            table[self._known_traits :] = [self._own(number) for number in range(self._known_traits, count)]
            self._known_traits = count
        return table

    def _own(self, number: int) -> tuple[float, ...]:
        path, facts, habits = self._book.paths[number], self._book.facts[number], self._habits
        sessions = max(1, habits.sessions)
        read, named = habits.read[path], habits.named[path]
        return (
            facts.parts,
            facts.is_test,
            path.endswith(".md"),
            path[:1] in ("~", "/", "."),
            read / sessions,
            habits.edited[path] / sessions,
            read,
            habits.recent.get(path, 0.0),
            habits.sessions - habits.last[path] if path in habits.last else _LONG_AGO,
            (read + 0.5) / (named + 3),
            habits.words.used[path] / max(1, self._uses),
        )

    def followers(self, other: int) -> Matrix:
        """Return how likely each path is used right after one, by earlier sessions: (paths,)."""
        shares = self._habits.followers(self._book.paths[other]) if ("after", other) not in self._past else {}
        return self._vector("after", other, shares)

    def companions(self, other: int) -> Matrix:
        """Return in what share of the earlier sessions that used one each path was used too: (paths,)."""
        path = self._book.paths[other]
        if ("together", other) in self._past or path not in self._habits.together:
            return self._vector("together", other, {})
        total = max(2, self._habits.touched[path])
        return self._vector("together", other, {one: n / total for one, n in self._habits.together[path].items()})

    def _vector(self, relation: str, other: int, shares: dict[str, float]) -> Matrix:
        """Return shares by path as an array; paths that came after it was first made have none."""
        known = self._past.get((relation, other))
        if known is None:
            known = np.zeros(len(self._book))
            for path, share in shares.items():
                number = self._book.find(path)
                if number is not None:
                    known[number] = share
        if len(known) < len(self._book):
            known = np.pad(known, (0, len(self._book) - len(known)))
        self._past[relation, other] = known
        self._past.move_to_end((relation, other))
        if len(self._past) > 2 * _MOST_OTHERS:
            self._past.popitem(last=False)
        return known


def _kin(one: PathFacts, other: PathFacts) -> tuple[float, ...]:
    mine, theirs = one.directory.split("/"), other.directory.split("/")
    common = 0
    for a, b in zip(mine, theirs, strict=False):
        if a != b:
            break
        common += 1
    shared = len(one.words & other.words) / max(1, len(one.words | other.words))
    distance = len(mine) + len(theirs) - 2 * common
    return (one.directory == other.directory, common, distance, one.core == other.core, shared)
