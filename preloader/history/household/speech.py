"""What people say to use a component: a small grammar whose probabilities are known exactly.

With `VAGUE` probability a command is one of the sentences that several components understand ("turn it off"); otherwise
one of the component's own templates is chosen, and each of its slots filled, all evenly.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from string import Formatter

VAGUE = 0.35

_ROOMS = ("kitchen", "bedroom", "hall", "living room", "bathroom")
SLOTS: dict[str, tuple[str, ...]] = {
    "please": ("", "please "),
    "room": _ROOMS,
    "minutes": ("three", "five", "eight", "ten", "twelve", "twenty", "forty"),
    "degrees": ("18", "19", "20", "21", "22", "23"),
    "music": ("jazz", "some piano", "the beatles", "my running list", "something calm", "dance music"),
    "show": ("the game", "a film", "my series", "the late show"),
    "topic": ("science", "history", "football", "economics"),
    "person": ("anna", "mum", "the neighbours", "tom", "the office"),
    "day": ("today", "tomorrow", "this week", "on friday"),
    "place": ("work", "the school", "the station", "the airport"),
    "item": ("milk", "bread", "apples", "coffee", "batteries", "rice"),
    "dish": ("lasagne", "a curry", "pancakes", "tomato soup", "risotto"),
    "machine": ("coffee machine", "dishwasher", "washing machine", "vacuum cleaner", "oven"),
    "thing": ("the moon", "whales", "volcanoes", "the romans", "gravity"),
    "hero": ("a dragon", "two bears", "a pirate", "a little owl"),
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "lights": (
        "{please}turn on the {room} lights",
        "{please}lights off in the {room}",
        "dim the lights in the {room}",
        "make the {room} brighter",
        "it is too dark in here",
    ),
    "heating": (
        "{please}set the {room} to {degrees} degrees",
        "make it warmer in the {room}",
        "turn the heating down",
        "heating to {degrees}",
        "i am cold",
    ),
    "blinds": (
        "{please}open the blinds in the {room}",
        "{please}close the {room} blinds",
        "blinds halfway down",
        "let some light into the {room}",
    ),
    "security": (
        "{please}lock the front door",
        "arm the alarm",
        "is the back door locked",
        "who is at the door",
        "show me the camera in the {room}",
    ),
    "appliances": (
        "{please}start the {machine}",
        "{please}turn on the {machine}",
        "is the {machine} done",
        "stop the {machine}",
    ),
    "music": (
        "{please}play {music}",
        "put on {music} in the {room}",
        "i want to hear {music}",
        "next song",
        "what song is this",
    ),
    "podcasts": (
        "{please}play the latest podcast about {topic}",
        "continue my podcast",
        "a new episode about {topic}",
        "skip this episode",
    ),
    "tv": (
        "{please}put {show} on tv",
        "watch {show}",
        "{please}turn on the tv in the {room}",
        "switch to the other channel",
    ),
    "news": ("{please}play the news", "what happened {day}", "the headlines about {topic}", "read me the news"),
    "timers": (
        "{please}set a timer for {minutes} minutes",
        "remind me in {minutes} minutes",
        "how long is left on the timer",
        "wake me in {minutes} minutes",
    ),
    "weather": (
        "what is the weather {day}",
        "will it rain {day}",
        "do i need a coat {day}",
        "how warm is it outside",
    ),
    "traffic": (
        "how long to {place}",
        "how is the traffic to {place}",
        "when is the next train to {place}",
        "is the road to {place} clear",
    ),
    "calendar": (
        "what is on my calendar {day}",
        "when is my first meeting {day}",
        "add dinner with {person} {day}",
        "am i free {day}",
    ),
    "messages": (
        "{please}send a message to {person}",
        "tell {person} i am on my way",
        "read my messages",
        "did {person} write",
    ),
    "shopping": (
        "{please}add {item} to the shopping list",
        "we are out of {item}",
        "what is on the shopping list",
        "order {item}",
    ),
    "recipes": (
        "how do i make {dish}",
        "{please}find a recipe for {dish}",
        "what can i cook {day}",
        "what is the next step",
        "how much flour for {dish}",
    ),
    "questions": ("tell me about {thing}", "how old are {thing}", "{please}explain {thing}", "who discovered {thing}"),
    "stories": (
        "{please}tell me a story about {hero}",
        "read the book about {hero}",
        "a bedtime story",
        "continue the story of {hero}",
    ),
}

VAGUE_SENTENCES: dict[str, tuple[str, ...]] = {
    "turn it off": ("lights", "heating", "appliances", "music", "tv", "timers", "news"),
    "turn it on": ("lights", "heating", "appliances", "tv", "security"),
    "a bit more": ("lights", "heating", "blinds", "music"),
    "louder": ("music", "podcasts", "tv", "news", "stories"),
    "go on": ("podcasts", "recipes", "stories", "news", "questions"),
    "what about {day}": ("weather", "calendar", "traffic"),
    "do the usual": ("lights", "music", "heating", "blinds", "security", "appliances"),
    "anything new": ("messages", "news", "calendar", "podcasts"),
    "add that": ("shopping", "calendar", "recipes"),
    "how long": ("timers", "traffic", "recipes", "appliances"),
    "tell {person}": ("messages", "calendar"),
    "and then": ("recipes", "stories", "questions", "calendar"),
    "put {item} on it": ("shopping", "recipes"),
    "check again": ("security", "weather", "traffic", "messages", "shopping"),
}


def say(component: str, draw: random.Random) -> str:
    """Return a sentence that asks for ``component``."""
    choices = _vague(component) if draw.random() < VAGUE else TEMPLATES[component]
    template = draw.choice(choices)
    return template.format_map({slot: draw.choice(SLOTS[slot]) for slot in _slots(template)})


def likelihoods(text: str) -> Mapping[str, float]:
    """Return P(``text`` | component) of each component for which it is not 0."""
    return _sentences().get(text, {})


@cache
def _vague(component: str) -> tuple[str, ...]:
    return tuple(sentence for sentence, components in VAGUE_SENTENCES.items() if component in components)


@cache
def _slots(template: str) -> tuple[str, ...]:
    return tuple(slot for _, slot, _, _ in Formatter().parse(template) if slot)


@cache
def _sentences() -> dict[str, dict[str, float]]:
    """Every sentence that can be said, and how likely each component makes it."""
    sentences: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for component in TEMPLATES:
        for share, templates in ((1 - VAGUE, TEMPLATES[component]), (VAGUE, _vague(component))):
            for template in templates:
                filled = list(_filled(template))
                for sentence in filled:
                    sentences[sentence][component] += share / len(templates) / len(filled)
    return {sentence: dict(components) for sentence, components in sentences.items()}


def _filled(template: str) -> Iterator[str]:
    slots = _slots(template)
    for values in itertools.product(*(SLOTS[slot] for slot in slots)):
        yield template.format_map(dict(zip(slots, values, strict=True)))
