"""The baselines' figures that were measured once with other code, on the data sets that PRELOADER_DATASETS holds."""

import os
from functools import cache
from pathlib import Path

import msgspec
import pytest

from preloader.evaluation import BASELINES, Candidate, evaluate, task_of_parts, task_of_split
from preloader.history import load_sessions, reader_of

TOLERANCE = 0.003
FROZEN = [
    # target, repeats dropped, predictor, top-1, top-3, top-5, MRR
    ("tool", False, "user_frequency", 0.398, 0.785, 0.921, 0.607),
    ("tool", False, "most_recent", 0.561, 0.830, 0.941, 0.713),
    ("tool", False, "order1", 0.578, 0.883, 0.950, 0.736),
    ("tool", False, "order2", 0.598, 0.892, 0.958, 0.749),
    ("tool", True, "user_frequency", 0.422, 0.842, 0.910, 0.627),
    ("tool", True, "most_recent", 0.394, 0.782, 0.905, 0.600),
    ("tool", True, "order1", 0.501, 0.860, 0.934, 0.683),
    ("tool", True, "order2", 0.538, 0.873, 0.937, 0.708),
    ("tool_command", False, "user_frequency", 0.230, 0.525, 0.665, 0.419),
    ("tool_command", False, "most_recent", 0.378, 0.626, 0.725, 0.533),
    ("tool_command", False, "order1", 0.410, 0.718, 0.782, 0.577),
    ("tool_command", False, "order2", 0.432, 0.720, 0.788, 0.590),
    ("tool_command", True, "user_frequency", 0.303, 0.527, 0.636, 0.456),
    ("tool_command", True, "most_recent", 0.266, 0.485, 0.603, 0.420),
    ("tool_command", True, "order1", 0.377, 0.617, 0.686, 0.522),
    ("tool_command", True, "order2", 0.395, 0.624, 0.693, 0.535),
]
FILES_ONLINE = [
    ("user_frequency", 0.084, 0.167, 0.233, 0.164),
    ("most_recent", 0.453, 0.589, 0.656, 0.546),
]
SGD = [
    ("domain_method", False, "order2", 0.185, 0.352, 0.403, 0.307),
    ("intent", False, "order2", 0.545, 0.632, 0.651, 0.604),
    ("intent", True, "order2", 0.188, 0.324, 0.367, 0.298),
]
TAU2 = [
    (False, "order2", 0.617, None, None, None),
    (False, "order2_user", 0.659, 0.807, 0.869, 0.751),
    (True, "order2_user", 0.516, 0.738, 0.844, 0.653),
]


def path_of(name):
    folder = os.environ.get("PRELOADER_DATASETS")
    if not folder:
        pytest.skip("PRELOADER_DATASETS is not set")
    return Path(folder) / name


@cache
def sessions_of(name):
    return load_sessions([path_of(name)])


def measured(task, predictor, learn, *, drop_repeats=False):
    candidate = Candidate(predictor, lambda: BASELINES[predictor](kinds=(task.kind,), horizon=1))
    (row,) = evaluate(
        msgspec.structs.replace(task, steps=1, drop_repeats=drop_repeats), [candidate], [learn], bootstraps=1
    )
    return row


def check(row, *expected):
    for name, value in zip(("top1", "top3", "top5", "mrr"), expected, strict=True):
        if value is not None:
            assert getattr(row, name) == pytest.approx(value, abs=TOLERANCE), name


@pytest.mark.parametrize(("target", "drop_repeats", "predictor", "top1", "top3", "top5", "mrr"), FROZEN)
def test_agent_sessions(target, drop_repeats, predictor, top1, top3, top5, mrr):
    sessions = sessions_of("agent-sessions/events.jsonl.gz")
    task = task_of_split(sessions, reader_of("agent-sessions").rule, target)
    row = measured(task, predictor, "frozen", drop_repeats=drop_repeats)
    if not drop_repeats:
        assert (task.summary().fit_items, row.n) == (23_973, 6_037)
    check(row, top1, top3, top5, mrr)


@pytest.mark.parametrize(("predictor", "top1", "top3", "top5", "mrr"), FILES_ONLINE)
def test_agent_sessions_files(predictor, top1, top3, top5, mrr):
    sessions = sessions_of("agent-sessions/events.jsonl.gz")
    task = task_of_split(sessions, reader_of("agent-sessions").rule, "file")
    assert task.summary().unseen_share == pytest.approx(0.21, abs=0.005)
    check(measured(task, predictor, "online"), top1, top3, top5, mrr)


@pytest.mark.parametrize(("target", "drop_repeats", "predictor", "top1", "top3", "top5", "mrr"), SGD)
def test_sgd(target, drop_repeats, predictor, top1, top3, top5, mrr):
    train, test = (sessions_of(f"sgd/{part}.jsonl.gz") for part in ("train", "test"))
    task = task_of_parts(train, test, reader_of("sgd").rule, target)
    check(measured(task, predictor, "frozen", drop_repeats=drop_repeats), top1, top3, top5, mrr)


@pytest.mark.parametrize(("drop_repeats", "predictor", "top1", "top3", "top5", "mrr"), TAU2)
def test_tau2(drop_repeats, predictor, top1, top3, top5, mrr):
    task = task_of_split(sessions_of("tau2/simulations.jsonl.gz"), reader_of("tau2").rule, "tool")
    check(measured(task, predictor, "frozen", drop_repeats=drop_repeats), top1, top3, top5, mrr)
