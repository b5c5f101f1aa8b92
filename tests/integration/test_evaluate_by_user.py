"""Saved predictors scored user by user: the figures of one process to the last bit, with one user in memory."""

import json
from functools import cache

import pytest
from typer.testing import CliRunner

from preloader.cli import build
from preloader.evaluation import BASELINES, Candidate, Task, evaluate, task_of_split
from preloader.evaluation.by_user import evaluate_users, survey
from preloader.evaluation.scoring import follows
from preloader.evaluation.user_tasks import HeldTasks, PartitionTasks
from preloader.history import ReadReport, SplitRule, group_sessions, write
from preloader.history.partitions import write_partitions
from preloader.learning.parallel import Backend
from preloader.prediction import FittedOn, OnlinePredictor, save_bundle
from preloader.prediction.experts import MixturePredictor
from preloader.testing import random_events
from tests.integration.held_users import watch

KIND = "component"
EVENTS = random_events(seed=4, users=5, sessions=6, length=12)


@cache
def learned():
    """What a mixture knows of other users."""
    predictor = empty()
    for event in random_events(seed=8, users=2, sessions=6, length=12):
        predictor.learn_one(event)
    return predictor.snapshot()


def empty():
    return MixturePredictor([OnlinePredictor((KIND,)), BASELINES["order2"](kinds=(KIND,))], (KIND,))


def mixture():
    predictor = empty()
    predictor.restore(learned())
    return predictor


def online():
    return mixture().experts[0]


CANDIDATES = [Candidate("mixture", mixture, fitted=True), Candidate("online", online, fitted=True)]


@pytest.fixture
def partitions(tmp_path):
    pytest.importorskip("pyarrow")
    write_partitions(EVENTS, tmp_path / "history")
    return PartitionTasks.under(tmp_path / "history", (KIND,))


@pytest.mark.parametrize("drop_repeats", [False, True])
@pytest.mark.parametrize("kind", ["serial", "loky"])
def test_figures_are_those_of_one_process(kind, drop_repeats, partitions):
    whole = task_of_split(group_sessions(EVENTS), SplitRule(), KIND)
    whole = Task(KIND, whole.fit, whole.test, drop_repeats=drop_repeats)
    bare = Task(KIND, (), (), drop_repeats=drop_repeats)
    divide = Backend(kind, jobs=2 if kind == "loky" else None).map
    wanted = evaluate(whole, CANDIDATES, learn=("frozen",), bootstraps=20)
    for tasks in (partitions, HeldTasks(group_sessions(EVENTS), SplitRule(), (KIND,))):
        found = survey(tasks, bare)
        assert found.summary == whole.summary()
        assert [(user, name) for _, user, name in found.test] == [(one.user, one.session) for one in whole.test]
        assert evaluate_users(tasks, bare, found, CANDIDATES, bootstraps=20, divide=divide) == wanted


def test_one_user_is_held_at_a_time(partitions, monkeypatch):
    alive = watch(monkeypatch)
    bare = Task(KIND, (), ())
    evaluate_users(partitions, bare, survey(partitions, bare), CANDIDATES, bootstraps=5)
    assert max(map(len, alive)) == 1
    assert set.union(*alive) == {f"user{number}" for number in range(4)}  # nothing is read after the fifth


def test_what_cannot_be_read_is_counted_once(partitions):
    report = ReadReport()
    survey(partitions, Task(KIND, (), ()), report)
    assert report.good == len(EVENTS)


def test_a_mixture_follows_only_where_an_expert_of_it_does():
    assert follows(BASELINES["most_recent"]())
    assert follows(MixturePredictor([OnlinePredictor(), BASELINES["most_recent"]()]))
    assert not follows(MixturePredictor([OnlinePredictor(), BASELINES["order2"]()]))
    assert not follows(OnlinePredictor())


def test_a_mixture_is_divided_by_user_like_any_other():
    whole = task_of_split(group_sessions(EVENTS), SplitRule(), KIND)
    shares = []

    def divide(work, items):
        shares.extend(items)
        return [work(one) for one in items]

    apart = evaluate(whole, CANDIDATES, learn=("frozen",), bootstraps=5, divide=divide)
    assert apart == evaluate(whole, CANDIDATES, learn=("frozen",), bootstraps=5)
    assert len(shares) == 2 * 5


@pytest.fixture
def commanded(tmp_path):
    """Returns the document of the command with a bundle that has not seen the history, in one file or partitioned."""
    pytest.importorskip("pyarrow")
    write(EVENTS, tmp_path / "one.jsonl", "jsonl")
    write_partitions(EVENTS, tmp_path / "many")
    nothing_of_these = FittedOn(format="jsonl", sessions=["0" * 10])
    predictor = MixturePredictor([OnlinePredictor((KIND,))], (KIND,))
    for event in random_events(seed=8, users=2, sessions=6, length=12):
        predictor.learn_one(event)
    save_bundle(tmp_path / "bundle", predictor.snapshot(), fitted_on=nothing_of_these)

    def command(name, *more):
        words = ["evaluate", str(tmp_path / name), "--bundle", str(tmp_path / "bundle"), "--learn", "frozen", "--json"]
        return CliRunner().invoke(build(), [*words, "--bootstraps", "9", *more])

    return command


@pytest.mark.parametrize(
    "more", [(), ("--jobs", "2"), ("--repeats", "dropped", "--target", KIND, "--fit-percent", "50")]
)
def test_the_command_says_of_partitions_what_it_says_of_the_file(commanded, more, monkeypatch):
    alive = watch(monkeypatch)
    together = commanded("one.jsonl", "--predictor", "mixture", *more)
    assert together.exit_code == 0, together.exception
    assert not alive
    apart = commanded("many", "--predictor", "mixture", *more)
    assert apart.exit_code == 0, apart.exception
    one, many = json.loads(together.stdout), json.loads(apart.stdout)
    assert many["rows"] == one["rows"]
    assert many["protocol"] == one["protocol"]
    assert {**many["data"], "paths": 0, "format": 0} == {**one["data"], "paths": 0, "format": 0}
    assert max(map(len, alive)) == 1


def test_what_learns_from_all_users_in_turn_holds_all_users(commanded, monkeypatch):
    alive = watch(monkeypatch)
    assert commanded("many", "--predictor", "order2").exit_code == 0
    assert not alive


def test_a_partitioned_history_is_refused_like_any_other(commanded):
    refused = commanded("many", "--predictor", "mixture", "--target", "tool")
    assert str(refused.exception) == (
        "--target 'tool' is not a kind that parquet histories have; choose from: component"
    )
    refused = commanded("many", "--predictor", "mixture", "--steps", "9")
    assert str(refused.exception).startswith("--steps 9 is too many for ")
