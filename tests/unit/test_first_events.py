import numpy as np
import pytest

from preloader.evaluation.baselines import BASELINES
from preloader.evaluation.first_events import Beginning, first_events, gains
from preloader.events import Event
from preloader.history import group_sessions


def beginning(words, sessions=1):
    used = [[f"k:{word}" for word in words] for _ in range(sessions)]
    return Beginning(
        "k",
        group_sessions(
            Event(user="u", session=str(session), time_s=100.0 * session + at, action="do", resources=(key,))
            for session, keys in enumerate(used)
            for at, key in enumerate(keys)
        ),
    )


def most_recent(kind):
    return BASELINES["most_recent"](kinds=[kind])


def test_every_assistant_starts_empty_and_only_its_first_events_count():
    (scores,) = first_events(most_recent, [beginning("aaaa"), beginning("abab")], events=3, steps=1)
    assert scores.rank.tolist() == [np.inf, 1, 1, np.inf, np.inf, 2]
    assert scores.session.tolist() == [0, 0, 0, 1, 1, 1]


def test_sessions_are_numbered_through_and_what_was_learned_lasts():
    (scores,) = first_events(most_recent, [beginning("ab", sessions=2), beginning("a")], steps=1)
    assert scores.session.tolist() == [0, 0, 1, 1, 2]
    assert scores.rank.tolist() == [np.inf, np.inf, 2, 2, np.inf]


def test_events_without_the_kind_do_not_count():
    one = beginning("aa")
    quiet = [Event(user="u", session="0", time_s=0.5, action="other", resources=("x:y",)) for _ in range(5)]
    mixed = Beginning("k", group_sessions([*one.sessions[0].events[:1], *quiet, *one.sessions[0].events[1:]]))
    (scores,) = first_events(most_recent, [mixed], events=2, steps=1)
    assert scores.rank.tolist() == [np.inf, 1]


def test_later_steps_score_later_items():
    scores = first_events(most_recent, [beginning("aab")], steps=3)
    assert [len(step.rank) for step in scores] == [3, 2, 1]


def test_gains_are_those_of_the_same_items():
    begun = [beginning("abab", sessions=4), beginning("aabb", sessions=4)]
    scores = {
        "recent": first_events(most_recent, begun)[0],
        "order1": first_events(lambda kind: BASELINES["order1"](kinds=[kind]), begun)[0],
    }
    found = gains(scores, "recent", bootstraps=50)
    assert found["recent"].mrr == (0.0, 0.0, 0.0)
    gain = found["order1"]
    assert gain.mrr[0] == pytest.approx(gain.metrics.mrr - found["recent"].metrics.mrr)
    assert gain.log_loss[0] == pytest.approx(gain.metrics.log_loss - found["recent"].metrics.log_loss)
    assert gain.mrr[1] <= gain.mrr[0] <= gain.mrr[2]
