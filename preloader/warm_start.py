"""Getting ready, before anything was said, what sessions of this time of day use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from preloader.cache.habits import Habits
from preloader.events import Event, Prediction
from preloader.settings import Settings

_UNUSED_AFTER_S = 1_800.0
_MAX_USERS = 1_024

Consider = Callable[[list[Prediction], float], None]


class WarmStart:
    """Learns habits from every event, and asks them at the manager's start and at each user's first event.

    What they answer are predictions like any other: the decision policy refuses them or queues them, and the waste
    budget pays. As none says which item is next, the policy shipped puts them in the background.

    They learn from events only. A need has no time of its own, and its resource comes again in its event.

    Args:
        consider: Lets the policy decide on predictions, whose preloads are written off at a time on the loop's clock.
        settings: Whether to start warm, and how many steps predictions have.
        wall_clock: Returns seconds since 1970.
    """

    def __init__(self, consider: Consider, settings: Settings, wall_clock: Callable[[], float]) -> None:
        self.habits = Habits()
        self._consider = consider
        self._settings = settings
        self._wall_clock = wall_clock
        self._greeted: dict[str, None] = {}

    def begin(self) -> None:
        """The manager starts: who will come is not known."""
        self._warm(self._wall_clock(), None)

    def seen(self, event: Event) -> None:
        """An event happened; the first of a user in this run says who has come, and when."""
        if event.user not in self._greeted:
            self._greeted[event.user] = None
            if len(self._greeted) > _MAX_USERS:
                del self._greeted[next(iter(self._greeted))]
            self._warm(event.time_s, event.user)
        self.habits.learn(event)

    def _warm(self, time_s: float, user: str | None) -> None:
        if not self._settings.warm_start:
            return
        predictions = self.habits.expected(time_s, user, self._settings.steps)
        if predictions:
            self._consider(predictions, asyncio.get_running_loop().time() + _UNUSED_AFTER_S)
