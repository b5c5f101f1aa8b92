"""Labels computed from sessions, and those read from what replay emitted, are the same."""

import gzip

import numpy as np
import pytest

from preloader.errors import ConfigurationError, HistoryError
from preloader.history import group_sessions
from preloader.learning.outcomes import OutcomeWorld, emitted_labels, read_outcomes
from preloader.prediction import OnlinePredictor
from preloader.replay.script import vocabulary
from preloader.replay.study import Laboratory, Plan
from preloader.testing import random_events

SESSIONS = group_sessions(random_events(seed=5, users=2, sessions=3, length=12))
KEYS = tuple(vocabulary(SESSIONS, "component"))
WORLD = OutcomeWorld("component", KEYS, budget=5.0, seed=0)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory):
    """What a replay of the last four sessions emits, in every form."""
    folder = tmp_path_factory.mktemp("outcomes")
    plan = Plan(kind="component", fit=SESSIONS[:2], test=SESSIONS[2:], budget=5.0)
    for name in ("rows.jsonl", "rows.jsonl.gz", "rows.parquet"):
        Laboratory(plan, lambda: OnlinePredictor(("component",))).conduct(outcomes=folder / name)
    return folder


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_what_replay_emits_says_the_same_as_what_is_computed(emitted, name):
    labels = emitted_labels(read_outcomes(emitted / name), SESSIONS, KEYS)
    known = 0
    for session in SESSIONS:
        computed, read = WORLD.labels(session), labels[session.user, session.session]
        assert computed.known.all()
        assert np.array_equal(read.used & read.known, computed.used & read.known)
        known += int(read.known.sum())
    assert known > 100
    assert not any(labels[one.user, one.session].known.any() for one in SESSIONS[:2])


def test_malformed_rows_and_rows_of_another_history_are_told(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"user":"user0","session":"session0","event":99,"key":"component:item1","used":true}\n')
    with pytest.raises(HistoryError, match="event 99 of session 'session0' of 'user0', which has 12"):
        emitted_labels(read_outcomes(path), SESSIONS, KEYS)
    path.write_text('{"user":"user0"}\n')
    with pytest.raises(HistoryError, match=r"rows\.jsonl:1"):
        list(read_outcomes(path))
    broken = tmp_path / "rows.jsonl.gz"
    broken.write_bytes(gzip.compress(b"x" * 1_000)[:-20])
    with pytest.raises(HistoryError, match="damaged or end early"):
        list(read_outcomes(broken))
    (tmp_path / "rows.parquet").write_bytes(b"PAR1, not")
    with pytest.raises(HistoryError, match="not rows of --emit-outcomes"):
        list(read_outcomes(tmp_path / "rows.parquet"))


def test_a_world_needs_keys_and_room():
    with pytest.raises(ConfigurationError, match="no keys"):
        OutcomeWorld("component", ())
    with pytest.raises(ConfigurationError, match="budget is 0"):
        OutcomeWorld("component", KEYS, budget=0)
