"""Frozen scoring that is divided by user gives the figures of one process, to the last bit."""

import json
import subprocess
import sys

import pytest

from preloader.evaluation import BASELINES, Candidate, evaluate, task_of_split
from preloader.evaluation.apart import _shares
from preloader.history import SplitRule, group_sessions, write
from preloader.learning.parallel import Backend
from preloader.prediction import OnlinePredictor
from preloader.testing import random_events

SESSIONS = group_sessions(random_events(seed=4, users=5, sessions=6, length=12))


@pytest.mark.parametrize("drop_repeats", [False, True])
@pytest.mark.parametrize("kind", ["serial", "loky"])
def test_figures_are_those_of_one_process(kind, drop_repeats):
    task = task_of_split(SESSIONS, SplitRule(), "component")
    task = type(task)(task.kind, task.fit, task.test, drop_repeats=drop_repeats)
    candidates = [
        Candidate("order2", lambda: BASELINES["order2"](kinds=("component",))),
        Candidate("most_recent", lambda: BASELINES["most_recent"](kinds=("component",))),
        Candidate("online", lambda: OnlinePredictor(("component",))),
    ]
    divide = Backend(kind, jobs=2 if kind == "loky" else None).map
    labels = [], []
    here = evaluate(task, candidates, bootstraps=20, on_session=labels[0].append)
    apart = evaluate(task, candidates, bootstraps=20, on_session=labels[1].append, divide=divide)
    assert apart == here
    assert labels[1] == labels[0]


def test_a_users_sessions_stay_together_and_shares_are_about_equal():
    shares = _shares([session for session in SESSIONS for _ in range(40)])
    assert sorted(user for share in shares for user in share.users) == sorted({one.user for one in SESSIONS})
    assert sorted(number for share in shares for number, _ in share.sessions) == list(range(40 * len(SESSIONS)))
    assert all(session.user in share.users for share in shares for _, session in share.sessions)
    assert str(shares[0]).startswith("user '")


def test_the_command_says_the_same_with_jobs(tmp_path):
    write(random_events(seed=4, users=3, sessions=4, length=10), tmp_path / "events.jsonl", "jsonl")
    command = ["evaluate", str(tmp_path / "events.jsonl"), "--json", "--predictor", "order2", "--bootstraps", "9"]
    here, apart = (json.loads(run(*command, *more).stdout) for more in ((), ("--jobs", "2")))
    assert apart == here
    wrong = run(*command, "--backend", "dask")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "preloader: --backend dask and --scheduler ADDRESS go together; give both or neither\n",
    )


def test_a_history_partitioned_by_user_is_evaluated_like_the_file_that_it_was(tmp_path):
    pytest.importorskip("pyarrow")
    write(random_events(seed=4, users=3, sessions=4, length=10), tmp_path / "events.jsonl", "jsonl")
    convert = ["history", "convert", str(tmp_path / "events.jsonl"), "--partition-by", "user"]
    done = run(*convert, "--out", str(tmp_path / "history"))
    assert done.stderr == f"Wrote 120 events to {tmp_path / 'history'}; skipped 0 bad records.\n"
    assert len(list((tmp_path / "history").glob("user=user?/part-00000.parquet"))) == 3
    documents = [
        json.loads(run("evaluate", str(tmp_path / name), "--json", "--predictor", "order2", "--bootstraps", "9").stdout)
        for name in ("events.jsonl", "history")
    ]
    assert documents[0]["rows"] == documents[1]["rows"]
    wrong = run(*convert, "--out", str(tmp_path / "other"), "--to", "jsonl")
    assert wrong.stderr == "preloader: --partition-by writes parquet, and --to is 'jsonl'; leave one of them out\n"


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "preloader", *arguments], capture_output=True, text=True)
