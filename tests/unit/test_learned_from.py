"""Whether a bundle learned what it is to be judged on: by session and, where users share an assistant, by history."""

import sys
from pathlib import Path

import pytest

from preloader import cli
from preloader.cli.learned import learned_from, name_of
from preloader.cli.train_sources import read_sources
from preloader.errors import HistoryError
from preloader.history import Session
from preloader.learning.anonymous_recipe import read_anonymous_recipe
from preloader.prediction import FittedOn
from preloader.prediction.manifest import session_hash, shared_user

SHIPPED = Path(__file__).parents[2] / "models" / "default"
RECIPE = """
name = "tiny"
model = "anonymous"

[[sources]]
format = "household"
kinds = ["component"]
shared = true
"""
SESSIONS = [Session("ann", f"s{number}", ()) for number in range(4)]


def fitted_on(*hashes):
    return FittedOn(format="household", sessions=sorted(hashes))


def test_a_household_is_called_by_its_seed_and_anything_else_by_its_path():
    assert name_of("household:days=9,seed=3,users=2") == name_of("household:seed=3") == "household:seed=3"
    assert name_of("household") == "household:seed=0"
    assert name_of("logs/mine.jsonl") == "logs/mine.jsonl"
    with pytest.raises(HistoryError, match="sead"):
        name_of("household:sead=3")


def test_sessions_are_known_by_themselves_or_by_their_history():
    own = fitted_on(*(session_hash("ann", f"s{number}") for number in range(3)))
    shared = fitted_on(session_hash(shared_user("household:seed=3", "ann"), "s0"))
    assert learned_from(own, ["any.jsonl"], SESSIONS) == 3
    assert learned_from(shared, ["household:seed=3,users=9"], SESSIONS) == 1
    assert learned_from(shared, ["household:seed=4"], SESSIONS) == 0
    assert learned_from(shared, ["household:seed=4", "household:seed=3"], SESSIONS) == 1


def test_what_is_trained_on_a_household_is_known_by_its_seed(tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE)
    recipe = read_anonymous_recipe(tmp_path / "tiny.toml")
    (given,) = read_sources([Path("household:users=1,days=3,seed=5")], recipe)
    assert given.name == "household:seed=5"


def test_a_replay_of_what_a_bundle_learned_is_refused(monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    words = ["preloader", "replay", "household:days=30,seed=101", "--fit-percent", "20", "--bundle", str(SHIPPED)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "models/default was fitted on " in capsys.readouterr().err
