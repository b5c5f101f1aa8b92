"""How much the texts before the latest one count: learned, since assistants differ in it."""

import random

import pytest

from preloader.events import ContextTracker, Event
from preloader.prediction import OnlinePredictor

KIND = "skill"
SUBJECTS = ("dine", "music", "fly", "weather")


def said(user, at, text, key=None):
    used = () if key is None else (f"{KIND}:{key}",)
    return Event(
        user=user, session=user, time_s=float(at), action="user" if key is None else "call", text=text, resources=used
    )


def commands(draw, number):
    """Each text asks for one thing; what was asked for before says nothing of it."""
    for at in range(4):
        subject = draw.choice(SUBJECTS)
        yield said(f"{number}", 2 * at, f"{subject} now please")
        yield said(f"{number}", 2 * at + 1, None, subject)


def dialogues(draw, number):
    """What is wanted is said first, and then only confirmed."""
    subject = draw.choice(SUBJECTS)
    yield said(f"{number}", 0, f"i would like to {subject}")
    yield said(f"{number}", 1, "yes go on please")
    yield said(f"{number}", 2, None, subject)


def gains(sessions):
    """Return the gains of the next item's texts, the latest first, and how often the last items were foreseen."""
    draw, predictor, hits = random.Random(3), OnlinePredictor(kinds=(KIND,)), []
    for number in range(200):
        contexts, context = ContextTracker(), None
        for event in sessions(draw, number):
            if event.resources and context is not None and number >= 150:
                likeliest = max(predictor.predict(context), key=lambda prediction: prediction.per_step[0])
                hits.append(likeliest.key in event.resources)
            predictor.learn_one(event)
            context = contexts.observe(event)
    return predictor.model(KIND).words.dump()["gains"][0], sum(hits) / len(hits)


def test_earlier_texts_fade_where_every_text_is_a_command_of_its_own():
    learned, right = gains(commands)
    assert right == 1.0
    assert learned[0] > 1.0
    assert learned[1:3].max() < 0.45  # they began at .5


def test_earlier_texts_count_where_the_subject_was_named_before():
    learned, right = gains(dialogues)
    assert right == 1.0
    assert learned[1] > 0.7


@pytest.mark.parametrize("sessions", [commands, dialogues])
def test_gains_stay_within_their_bounds(sessions):
    learned, _ = gains(sessions)
    assert ((learned >= 0.03) & (learned <= 2.0)).all()
