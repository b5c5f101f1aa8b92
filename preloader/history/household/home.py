"""The simulated home: what its assistant is made of, and when and where its people speak to it."""

from __future__ import annotations

import math
import random

import msgspec

SMALLEST_BYTES, LARGEST_BYTES = 50_000_000, 500_000_000
SLOWEST_BYTES_S, FASTEST_BYTES_S = 120_000_000, 333_000_000
SETUP_S = 0.15


class SimulatedComponent(msgspec.Struct, frozen=True):
    """A component and what it costs; the fields are those of a component registry's file.

    Attributes:
        name: Its name, without the kind.
        bytes: What it occupies once loaded.
        load_s: How long loading takes.
        requires: Components that must be there first.
        conflicts: Components that may not be there with it; they name it too.
        priority: How much having it ready matters, relative to others.
    """

    name: str
    bytes: int
    load_s: float
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    priority: float = 1.0


class Routine(msgspec.Struct, frozen=True):
    """A time and place at which people speak a few commands in a row.

    Attributes:
        name: What they are about.
        place: Where.
        hour: When, in hours since midnight, give or take a person's habit and a quarter of an hour.
        weekend: Whether it belongs to weekends or to weekdays; ``None``: to both.
        attendance: The share of days on which an archetype's person does it, one for each of `ARCHETYPES`.
        pool: The components that belong to it, the most usual first.
    """

    name: str
    place: str
    hour: float
    weekend: bool | None
    attendance: tuple[float, float, float]
    pool: tuple[str, ...]


ARCHETYPES = ("commuter", "parent", "homebody")

BASES = {
    "audio_base": (),
    "speech_output": ("audio_base",),
    "media_player": ("audio_base",),
    "smart_home": (),
    "knowledge": (),
}
"""Shared components and what they require; no command uses one directly."""

INTENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "lights": ("set_lights", ("smart_home",)),
    "heating": ("set_temperature", ("smart_home",)),
    "blinds": ("move_blinds", ("smart_home",)),
    "security": ("guard_home", ("smart_home", "speech_output")),
    "appliances": ("run_appliance", ("smart_home",)),
    "music": ("play_music", ("media_player",)),
    "podcasts": ("play_podcast", ("media_player",)),
    "tv": ("watch_tv", ("media_player", "smart_home")),
    "news": ("play_news", ("media_player", "knowledge")),
    "timers": ("set_timer", ("audio_base",)),
    "weather": ("tell_weather", ("speech_output", "knowledge")),
    "traffic": ("tell_traffic", ("speech_output", "knowledge")),
    "calendar": ("tell_calendar", ("speech_output",)),
    "messages": ("send_message", ("speech_output",)),
    "shopping": ("note_shopping", ("speech_output",)),
    "recipes": ("read_recipe", ("speech_output", "knowledge")),
    "questions": ("answer_question", ("speech_output", "knowledge")),
    "stories": ("tell_story", ("speech_output",)),
}
"""The components that commands use: the intent of such a command, and what the component requires."""

COMPONENTS = tuple(INTENTS)

_CONFLICTS = (("music", "tv"), ("questions", "stories"))  # one amplifier; one place for a large language model
_PRIORITIES = {"security": 2.0, "stories": 0.5}

ROUTINES = (
    Routine(
        *("waking", "bedroom", 6.75, False, (0.95, 0.9, 0.5)),
        ("lights", "blinds", "weather", "news", "heating", "music", "calendar"),
    ),
    Routine(
        *("breakfast", "kitchen", 7.5, False, (0.8, 0.95, 0.9)),
        ("appliances", "news", "podcasts", "calendar", "traffic", "shopping", "timers", "weather"),
    ),
    Routine(
        *("leaving", "hall", 8.4, False, (0.95, 0.8, 0.15)),
        ("weather", "traffic", "heating", "lights", "security", "blinds", "messages"),
    ),
    Routine(
        *("late morning", "kitchen", 9.5, True, (0.8, 0.9, 0.9)),
        ("appliances", "music", "news", "weather", "calendar", "recipes", "timers", "questions"),
    ),
    Routine(
        *("going out", "hall", 11.5, True, (0.6, 0.8, 0.3)),
        ("weather", "traffic", "security", "lights", "heating", "messages"),
    ),
    Routine(
        *("lunch", "kitchen", 12.5, False, (0.05, 0.3, 0.9)),
        ("recipes", "news", "timers", "appliances", "music", "podcasts", "shopping"),
    ),
    Routine(
        *("afternoon", "living_room", 15.0, True, (0.6, 0.6, 0.8)),
        ("music", "podcasts", "questions", "shopping", "messages", "tv", "appliances", "timers"),
    ),
    Routine(
        *("arriving", "hall", 17.6, False, (0.9, 0.8, 0.15)),
        ("security", "lights", "heating", "messages", "music", "appliances"),
    ),
    Routine(
        *("cooking", "kitchen", 18.6, None, (0.5, 0.95, 0.8)),
        ("recipes", "timers", "shopping", "music", "questions", "podcasts", "appliances"),
    ),
    Routine(
        *("evening", "living_room", 20.2, False, (0.8, 0.6, 0.9)),
        ("tv", "lights", "music", "questions", "messages", "blinds", "heating", "calendar"),
    ),
    Routine(
        *("night in", "living_room", 20.2, True, (0.7, 0.8, 0.9)),
        ("tv", "music", "lights", "questions", "stories", "messages", "blinds"),
    ),
    Routine(
        *("bedtime", "bedroom", 22.3, None, (0.9, 0.95, 0.8)),
        ("stories", "lights", "security", "heating", "calendar", "timers", "weather", "music"),
    ),
)
"""All routines, in the order of the day."""

DEVICES = {"bedroom": "bedside", "kitchen": "kitchen_display", "hall": "wall_panel", "living_room": "speaker"}
"""What hears a command, by place."""


def simulated_components(seed: int) -> tuple[SimulatedComponent, ...]:
    """Return the household's components, those that others require first; sizes and speeds are drawn with the seed."""
    requires = {**BASES, **{name: needed for name, (_, needed) in INTENTS.items()}}
    return tuple(_component(seed, name, needed) for name, needed in requires.items())


def _component(seed: int, name: str, requires: tuple[str, ...]) -> SimulatedComponent:
    draw = random.Random(f"{seed}/component/{name}")
    size = round(math.exp(draw.uniform(math.log(SMALLEST_BYTES), math.log(LARGEST_BYTES))))
    load_s = round(SETUP_S + size / draw.uniform(SLOWEST_BYTES_S, FASTEST_BYTES_S), 3)
    conflicts = tuple(other for pair in _CONFLICTS if name in pair for other in pair if other != name)
    return SimulatedComponent(name, size, load_s, requires, conflicts, _PRIORITIES.get(name, 1.0))
