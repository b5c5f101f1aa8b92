"""A household that speaks to its assistant, and knows how likely everything is that it says."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from functools import cached_property, partial

import msgspec
import numpy as np

from preloader.errors import ConfigurationError, HistoryError
from preloader.events import Context, Event, resource_key
from preloader.history.household.habits import START, Floats, Habits, archetype_of
from preloader.history.household.home import (
    ARCHETYPES,
    COMPONENTS,
    DEVICES,
    INTENTS,
    ROUTINES,
    SimulatedComponent,
    simulated_components,
)
from preloader.history.household.speech import likelihoods, say

KIND = "component"
ENTERS, SPEAKS = "enters", "user"
START_S = 1_767_571_200.0
"""When the simulation begins: Monday, 5 January 2026, 00:00 UTC, which the household takes for its local time."""

DAY_S = 86_400.0
DEFAULT_USERS, DEFAULT_DAYS = 6, 56
DEFAULT_DRIFT = 0.15

_KEYS = tuple(resource_key(KIND, name) for name in COMPONENTS)
_PERSON_S = 600.0  # how far a person's clock may be ahead of or behind the routine's hour
_JITTER_S = 900.0  # and one day's from the person's
_FEWEST, _MOST = 3, 7  # commands in a session
_GAP_S = (5.0, 60.0)
_TYPICAL_GAP_S, _GAP_SPREAD = 15.0, 0.6
_STREAMING_S = (2.0, 6.0)  # the assistant understands, plans and streams its answer before a component is used


class HouseholdSession(msgspec.Struct, frozen=True):
    """One session as it was planned: what `Household.truth` knows and a predictor must guess.

    Attributes:
        person: The person's index, from 0.
        name: The session's name in the events: the day and the session's number in it, both from 1.
        start_s: When it begins, in seconds since 1970.
        routine: The index of its routine in `ROUTINES`.
        week: In which week of the simulation it is, from 0: how far habits have drifted.
    """

    person: int
    name: str
    start_s: float
    routine: int
    week: int

    @property
    def user(self) -> str:
        """The person, as the events name them."""
        return f"person{self.person + 1}"


class Household:
    """A seeded simulation: the same arguments give the same events, on any machine.

    A session is a person who enters a room (an event ``enters``) and speaks a few commands. A command is two events:
    the words (``user``), and some seconds later, while the answer streams, the intent, which uses ``component:<name>``.

    Args:
        seed: What everything is drawn with.
        users: How many people; they are of the `ARCHETYPES` in turn.
        days: How many days, from a Monday on.
        drift: How far habits turn in a week, in radians; 0 keeps them for ever.

    Raises:
        ConfigurationError: ``users`` or ``days`` is smaller than 1, or the drift is negative or endless.
    """

    def __init__(
        self, seed: int = 0, users: int = DEFAULT_USERS, days: int = DEFAULT_DAYS, drift: float = DEFAULT_DRIFT
    ) -> None:
        for name, value, least in (("users", users, 1), ("days", days, 1), ("drift", drift, 0)):
            if not least <= value < math.inf:
                raise ConfigurationError(f"{name} is {value}; a household needs at least {least}, and a finite number")
        self.seed, self.users, self.days, self.drift = seed, users, days, drift
        self.components: tuple[SimulatedComponent, ...] = simulated_components(seed)
        self.habits = Habits(seed, drift)

    @cached_property
    def sessions(self) -> dict[tuple[str, str], HouseholdSession]:
        """All sessions, by user and session name, in the order in which they begin."""
        planned = (session for person in range(self.users) for session in self._plan(person))
        ordered = sorted(planned, key=lambda session: (session.start_s, session.person))
        return {(session.user, session.name): session for session in ordered}

    def archetype(self, user: str) -> str:
        """Return the archetype of one of `sessions`' users."""
        return ARCHETYPES[archetype_of(int(user.removeprefix("person")) - 1)]

    def events(self) -> Iterator[Event]:
        """Yield everything that happens, in the order of time; people's sessions may interleave."""
        people = (self._events_of(person) for person in range(self.users))
        return heapq.merge(*people, key=lambda event: event.time_s)

    def truth(self, context: Context, *, heard: str | None = None, step: int = 1) -> dict[str, float]:
        """Return the true distribution of a session's next component, given that there is one.

        Args:
            context: Where the session is; user and session must be among `sessions`. If its latest event is of words,
                they count as heard.
            heard: The words of the next command, where they are known.
            step: Which of the next components: 1 is the next, 2 the one after it.

        Raises:
            HistoryError: The household has no such session, or never says such words.
            ValueError: ``step`` is smaller than 1.
        """
        if step < 1:
            raise ValueError(f"step is {step}; the first is 1")
        session = self.sessions.get((context.user, context.session))
        if session is None:
            raise HistoryError(f"the household has no session {context.session!r} of user {context.user!r}")
        latest = next(context.items(KIND), None)
        state = START if latest is None else _KEYS.index(latest)
        if heard is None and context.recent and context.recent[-1].action == SPEAKS:
            heard = context.recent[-1].text
        chain = self.habits.chain(session.person, session.routine, session.week)
        distribution = chain[state] if heard is None else _posterior(chain[state], heard)
        for _ in range(step - 1):
            distribution = distribution @ chain[:START]
        return dict(zip(_KEYS, distribution.tolist(), strict=True))

    def optimal_accuracy(self, *, heard: bool = False) -> float:
        """Return the top-1 accuracy that a predictor who knows the truth has on this household's next components.

        It is the mean, over all commands, of the likeliest component's true probability: what no predictor exceeds
        but by luck.

        Args:
            heard: Whether the command's words are known when its component is predicted.
        """
        best = [max(self.truth(context).values()) for context in self._moments(heard=heard)]
        return sum(best) / len(best)

    def _moments(self, *, heard: bool) -> Iterator[Context]:
        """Yield the context before the words of each command, or after them."""
        contexts: dict[tuple[str, str], Context] = {}
        for event in self.events():
            slot = (event.user, event.session)
            before = contexts.get(slot) or Context(*slot)
            contexts[slot] = before.after(event)
            if event.action == SPEAKS:
                yield contexts[slot] if heard else before

    def _plan(self, person: int) -> Iterator[HouseholdSession]:
        draw = random.Random(f"{self.seed}/plan/{person}")
        habit_s = draw.uniform(-_PERSON_S, _PERSON_S)
        for day in range(self.days):
            count = 0
            for number, routine in enumerate(ROUTINES):
                does_it, jitter_s = draw.random(), draw.uniform(-_JITTER_S, _JITTER_S)
                if routine.weekend in (None, day % 7 >= 5) and does_it < routine.attendance[archetype_of(person)]:
                    start_s = round(START_S + day * DAY_S + routine.hour * 3_600 + habit_s + jitter_s, 3)
                    count += 1
                    yield HouseholdSession(person, f"day{day + 1}-{count}", start_s, number, day // 7)

    def _events_of(self, person: int) -> Iterator[Event]:
        for session in self._plan(person):
            yield from self._events_in(session)

    def _events_in(self, session: HouseholdSession) -> Iterator[Event]:
        draw = random.Random(f"{self.seed}/session/{session.user}/{session.name}")
        chain = self.habits.chain(session.person, session.routine, session.week)
        place = ROUTINES[session.routine].place
        event = partial(
            Event, user=session.user, session=session.name, context={"place": place, "device": DEVICES[place]}
        )
        yield event(time_s=session.start_s, action=ENTERS)
        time_s, state = session.start_s + _gap_s(draw), START
        for _ in range(draw.randint(_FEWEST, _MOST)):
            (state,) = draw.choices(range(START), weights=chain[state].tolist())
            name = COMPONENTS[state]
            yield event(time_s=round(time_s, 3), action=SPEAKS, text=say(name, draw))
            time_s += draw.uniform(*_STREAMING_S)
            yield event(time_s=round(time_s, 3), action=INTENTS[name][0], resources=(_KEYS[state],))
            time_s += _gap_s(draw)


def _gap_s(draw: random.Random) -> float:
    """Return the seconds from a command to the next words: mostly some 15, never so few that nothing could load."""
    shortest_s, longest_s = _GAP_S
    return min(longest_s, max(shortest_s, draw.lognormvariate(math.log(_TYPICAL_GAP_S), _GAP_SPREAD)))


def _posterior(prior: Floats, heard: str) -> Floats:
    likelihood = likelihoods(heard)
    if not likelihood:
        raise HistoryError(f"the household never says {heard!r}")
    joint = prior * np.array([likelihood.get(name, 0.0) for name in COMPONENTS])
    posterior: Floats = joint / joint.sum()
    return posterior
