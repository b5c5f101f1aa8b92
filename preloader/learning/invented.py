"""Invented assistants: histories drawn at random, so that a model without a vocabulary meets many unlike habits.

A model that is to infer the habits of an assistant it never met learns that best from many unlike ones (*prior-data
fitted networks*, Müller et al., ICLR 2022). Each assistant here draws its own mechanisms and how much each counts:
routines that users go through, habits of what follows what, repetition, recency as of a working set, popularity, new
keys, words that announce what comes, results after which something is tried again, and users and hours that differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from preloader.events import Event, resource_key
from preloader.history import Session, group_sessions

KIND = "invented"

_START_S = 1_750_000_000.0
_DAY_S = 86_400.0
_MECHANISMS = 5  # routine, habit, repetition, recency, popularity
_MOST_KEYS = 400


class InventedAssistant:
    """One assistant, drawn at random.

    Args:
        seed: Of everything drawn.
    """

    def __init__(self, seed: int) -> None:
        draw = self._draw = np.random.default_rng(seed)
        self._name = f"invented{seed}"
        self._keys = int(np.exp(draw.uniform(np.log(5), np.log(60))))
        self._most = min(self._keys * int(draw.integers(1, 8)), _MOST_KEYS)
        self._novelty = float(draw.choice([0.0, 0.01, 0.05, 0.2]))
        self._weights = draw.dirichlet([0.9, 0.9, 0.3, 0.6, 0.3])
        self._popularity = draw.dirichlet(np.full(self._keys, draw.uniform(0.1, 1.0)))
        self._follow = [self._followers() for _ in range(_MOST_KEYS)]
        self._routines = [self._routine() for _ in range(int(draw.integers(2, 16)))]
        self._users = int(draw.choice([1, 1, 2, 5]))
        concentration = float(draw.choice([0.15, 0.5, 2.0]))
        shape = (self._users, int(draw.choice([1, 4])), len(self._routines))
        self._taste = draw.dirichlet(
            np.full(shape[2], concentration), size=shape[:2]
        )  # (users, times of day, routines)
        self._length = float(draw.choice([2.0, 5.0, 15.0, 50.0]))
        self._faithful = float(draw.uniform(0.6, 1.0))
        self._speaks = float(draw.choice([0.0, 0.0, 0.3, 1.0]))
        self._clarity = float(draw.uniform(0.3, 1.0))
        self._fails = float(draw.choice([0.0, 0.0, 0.1, 0.3]))
        self._again = float(draw.uniform(0.2, 0.95))

    def sessions(self, items: int) -> list[Session]:
        """Return a history of about so many items."""
        return group_sessions(self._events(items))

    def _events(self, items: int) -> Iterator[Event]:
        now_s, made, number = _START_S, 0, 0
        while made < items:
            user = int(self._draw.integers(self._users))
            now_s += float(self._draw.exponential(_DAY_S / 6))
            for event in self._session(f"{self._name}/{user}", user, str(number), now_s):
                made += len(event.resources)
                now_s = event.time_s
                yield event
            number += 1

    def _session(self, name: str, user: int, session: str, now_s: float) -> Iterator[Event]:
        draw = self._draw
        used: list[int] = []
        plan: list[int] = []
        event = partial(Event, user=name, session=session)
        for _ in range(int(draw.geometric(1 / self._length))):
            now_s += float(draw.exponential(5.0))
            if not plan and draw.random() < 0.7:
                plan = self._planned(user, now_s)
            key = self._next(used, plan)
            if draw.random() < self._speaks:
                yield event(time_s=now_s, action="user", text=self._said(key))
                now_s += 1.0
            failed = bool(draw.random() < self._fails)
            for ok in (False, True) if failed and draw.random() < self._again else (not failed,):
                yield event(
                    time_s=now_s, action=f"act{key}", resources=(self._key(key),), ok=ok if self._fails else None
                )
                now_s += 1.0
                used.append(key)

    def _next(self, used: list[int], plan: list[int]) -> int:
        """Return the next key by one of the mechanisms; the last three need no plan."""
        draw = self._draw
        if draw.random() < self._novelty and self._keys < self._most:
            self._keys += 1
            return self._keys - 1
        way = int(draw.choice(_MECHANISMS, p=self._weights))
        if plan and (way == 0 or draw.random() < self._faithful * self._weights[0]):
            return plan.pop(0)
        if used and way == 1:
            keys, chances = self._follow[used[-1]]
            return int(draw.choice(keys, p=chances))
        if used and way == 2:
            return used[-1]
        if used and way == 3:
            latest = list(dict.fromkeys(reversed(used)))
            return latest[min(int(draw.geometric(0.4)), len(latest)) - 1]
        return int(draw.choice(len(self._popularity), p=self._popularity))

    def _planned(self, user: int, now_s: float) -> list[int]:
        tastes = self._taste[user]
        hour = int(now_s % _DAY_S / _DAY_S * len(tastes))
        routine = self._routines[int(self._draw.choice(len(self._routines), p=tastes[hour]))]
        return [step for step in routine if self._draw.random() < self._faithful]

    def _said(self, key: int) -> str:
        """Return what a user says before a key: words of the key's own, among others."""
        own = [f"w{key}x{number}" for number in range(3)]
        words = [
            own[int(self._draw.integers(3))] if self._draw.random() < self._clarity / 2 else f"filler{int(number)}"
            for number in self._draw.zipf(1.5, 6) % 50
        ]
        return " ".join(words)

    def _routine(self) -> list[int]:
        return [int(key) for key in self._draw.integers(self._keys, size=int(self._draw.integers(2, 9)))]

    def _followers(self) -> tuple[list[int], list[float]]:
        count = int(self._draw.integers(1, 6))
        chances = self._draw.dirichlet(np.full(count, 0.7))
        return self._draw.integers(self._keys, size=count).tolist(), chances.tolist()

    def _key(self, number: int) -> str:
        return resource_key(KIND, f"{self._name}.{number}")
