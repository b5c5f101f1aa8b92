"""Getting ready, before anything was said, what sessions of this time of day use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from preloader.cache.habits import Habits
from preloader.events import Event
from preloader.settings import Settings
from preloader.speculation import Speculation

_UNUSED_AFTER_S = 1_800.0
_MAX_USERS = 1_024


class WarmStart:
    """Learns habits from every event, and asks them at the manager's start and at each user's first event.

    What they answer are predictions like any other: the decision policy refuses them or queues them, and the waste
    budget pays. As none says which item is next, the policy shipped puts them in the background.

    They learn from events only. A need has no time of its own, and its resource comes again in its event.

    Args:
        habits: What is known.
        speculation: Where predictions are decided on.
        prefixes: What the keys that have a provider begin with.
        settings: Whether to start warm, and how many steps predictions have.
        wall_clock: Returns seconds since 1970.
    """

    def __init__(
        self,
        habits: Habits,
        speculation: Speculation,
        prefixes: tuple[str, ...],
        settings: Settings,
        wall_clock: Callable[[], float],
    ) -> None:
        self._habits = habits
        self._speculation = speculation
        self._prefixes = prefixes
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
        self._habits.learn(event)

    def _warm(self, time_s: float, user: str | None) -> None:
        if not self._settings.warm_start:
            return
        expected = self._habits.expected(time_s, user, self._settings.steps)
        known = [prediction for prediction in expected if prediction.key.startswith(self._prefixes)]
        if known:  # they are for no session in particular, so that none ends them
            self._speculation.consider(known, None, asyncio.get_running_loop().time() + _UNUSED_AFTER_S)
            self._speculation.pump()
