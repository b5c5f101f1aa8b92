import math

import pytest

from preloader.evaluation import BASELINES, Candidate, Task, evaluate
from preloader.evaluation.evaluate import score
from preloader.events import Event, Prediction
from preloader.history import Session


def session(name, items, user="ann", start=0.0):
    events = tuple(
        Event(user=user, session=name, time_s=start + number, action="a", resources=(f"k:{item}",))
        for number, item in enumerate(items)
    )
    return Session(user, name, events)


class Scripted:
    """Predicts what it is told to, and writes down what it was shown, in order."""

    name = "scripted"

    def __init__(self, **per_key):
        self.predictions = [Prediction(f"k:{key}", per_step, 0.0, 0.0) for key, per_step in per_key.items()]
        self.log = []

    def learn_one(self, event):
        self.log.append(("learn", *event.resources))

    def predict(self, context, steps=3):
        self.log.append(("predict", *(key for event in context.recent for key in event.resources)))
        return self.predictions


def rows_of(fit, test, name, learn, **options):
    task = Task("k", fit, test, **options)
    return evaluate(task, [Candidate(name, BASELINES[name])], [learn], bootstraps=20)


def test_online_learns_each_event_after_it_was_scored():
    predictor = Scripted(a=(1.0,))
    score(predictor, Task("k", [], [session("1", "ab")], steps=1), "online")
    assert predictor.log == [("predict",), ("learn", "k:a"), ("predict", "k:a"), ("learn", "k:b")]


def test_frozen_learns_nothing():
    predictor = Scripted(a=(1.0,))
    score(predictor, Task("k", [], [session("1", "ab")], steps=1), "frozen")
    assert [entry[0] for entry in predictor.log] == ["predict", "predict"]


def test_step_k_is_the_kth_next_item_of_the_session():
    predictor = Scripted(a=(0.6, 0.1), b=(0.2, 0.7))
    first, second = score(predictor, Task("k", [], [session("1", "abb"), session("2", "a")], steps=2), "frozen")
    assert first.session.tolist() == [0, 0, 0, 1]
    assert first.rank.tolist() == [1, 2, 2, 1]
    assert second.session.tolist() == [0, 0]
    assert second.probability.tolist() == [0.7, 0.7]


def test_an_item_never_met_in_fitting_scores_nothing_when_frozen():
    predictor = Scripted(a=(0.5,), new=(0.5,))
    task = Task("k", [], [session("1", ["new"])], steps=1)
    (scores,) = score(predictor, task, "frozen", known={"k:a"})
    assert (scores.rank.tolist(), scores.probability.tolist()) == ([math.inf], [0.0])
    (scores,) = score(predictor, task, "online", known={"k:a"})
    assert scores.probability.tolist() == [0.5]


def test_online_an_item_can_be_named_from_its_second_use_on():
    fit, test = [session("0", "ab")], [session("1", ["new", "new", "new"], start=10)]
    (frozen,) = rows_of(fit, test, "most_recent", "frozen", steps=1)
    (online,) = rows_of(fit, test, "most_recent", "online", steps=1)
    assert (frozen.top1, online.top1) == (0, pytest.approx(2 / 3))


def test_a_met_item_that_is_left_out_ranks_behind_all_that_were_met():
    task = Task("k", [], [session("1", ["new", "new"])], steps=1)
    (frozen,) = score(Scripted(a=(0.5,)), task, "frozen", known={"k:a", "k:b"})
    (online,) = score(Scripted(a=(0.5,)), task, "online", known={"k:a", "k:b"})
    assert frozen.rank.tolist() == [math.inf, math.inf]
    assert online.rank.tolist() == [math.inf, 3]


def test_predictors_do_not_see_annotations_of_other_kinds():
    shown = Event(user="ann", session="1", time_s=0.0, action="a", resources=("k:a",))
    label = Event(user="ann", session="1", time_s=1.0, action="intent", resources=("intent:b",))
    told = Event(user="ann", session="1", time_s=2.0, action="a", resources=("k:b",))
    predictor = Scripted(a=(1.0,))
    task = Task("k", [], [Session("ann", "1", (shown, label, told))], steps=1)
    evaluate(task, [Candidate("scripted", lambda: predictor)], ["online"])
    assert predictor.log == [("predict",), ("learn", "k:a"), ("predict", "k:a"), ("learn", "k:b")]


def test_dropped_repeats_are_neither_asked_nor_candidates():
    fit, test = [session("0", "aaaaab")], [session("1", "aaab", start=10)]
    (kept,) = rows_of(fit, test, "popular", "frozen", steps=1)
    (dropped,) = rows_of(fit, test, "popular", "frozen", steps=1, drop_repeats=True)
    assert (kept.n, kept.top1) == (4, 3 / 4)
    # asked: a, with a and b equally popular, so a tie that is lost; then b, with a excluded
    assert (dropped.n, dropped.top1) == (2, 1 / 2)


def test_what_runs_on_while_frozen_does_not_reach_the_online_pass():
    fit = [session("0", "abc")]
    test = [session(str(number), "ab"[number % 2] * 3, start=10 * number) for number in range(1, 6)]
    task = Task("k", fit, test, steps=1)
    candidate = Candidate("most_recent", BASELINES["most_recent"])
    both = evaluate(task, [candidate], ["frozen", "online"])
    assert [row.learn for row in both] == ["frozen", "online"]
    assert both[0] == evaluate(task, [candidate], ["frozen"])[0]
    assert both[1] == evaluate(task, [candidate], ["online"])[0]


def test_a_fitted_candidate_is_not_shown_the_fit_sessions():
    made = []

    def make():
        made.append(Scripted(a=(1.0,)))
        return made[-1]

    task = Task("k", [session("0", "a")], [session("1", "ab", start=10)], steps=1)
    (row,) = evaluate(task, [Candidate("bundle", make, fitted=True)], ["frozen"])
    assert ("learn", "k:a") not in made[0].log
    assert (row.n, row.top1) == (2, 0.5)


def test_rows_are_reproducible_and_their_intervals_hold_the_figure():
    fit = [session("0", "abcabcabd")]
    test = [session(str(number), "abcab"[number % 3 :], start=10 * number) for number in range(1, 12)]
    task = Task("k", fit, test)
    candidates = [Candidate(name, make) for name, make in BASELINES.items()]
    rows = evaluate(task, candidates, bootstraps=100)
    assert rows == evaluate(task, candidates, bootstraps=100)
    assert len(rows) == len(BASELINES) * 2 * 3
    for row in rows:
        assert row.top1_low <= row.top1 <= row.top1_high
        assert row.mrr_low <= row.mrr <= row.mrr_high


def test_every_session_is_reported_to_the_progress_bar():
    labels = []
    task = Task("k", [session("0", "ab")], [session("1", "ab", start=10), session("2", "b", start=20)])
    evaluate(task, [Candidate("order1", BASELINES["order1"])], on_session=labels.append)
    assert labels == ["order1, fitting", *["order1, frozen"] * 2, *["order1, online"] * 2]
