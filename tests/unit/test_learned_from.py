"""Whether a bundle learned what it is to be judged on: by session and, where users share an assistant, by history."""

import sys
from pathlib import Path

import pytest

from preloader import cli
from preloader.cli.learned import households_of, learned_from, name_of
from preloader.cli.train_sources import read_sources
from preloader.errors import HistoryError
from preloader.history import Session
from preloader.learning.anonymous_recipe import read_anonymous_recipe
from preloader.learning.catch_up import with_sessions
from preloader.prediction import FittedOn, load_bundle
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


def test_sessions_of_a_household_of_another_seed_are_namesakes_only():
    hashes = sorted(session_hash("ann", f"s{number}") for number in range(3))
    own = FittedOn(format="household", sessions=hashes, households=["household:seed=3"])
    assert learned_from(own, ["household:seed=3,users=9"], SESSIONS) == 3
    assert learned_from(own, ["household:seed=99"], SESSIONS) == 0
    assert learned_from(own, ["household:seed=99", "household:seed=3"], SESSIONS) == 3
    assert learned_from(own, ["household.jsonl"], SESSIONS) == 3  # which may be that household's, written down
    assert learned_from(own, ["household:seed=99", "household.jsonl"], SESSIONS) == 3


def test_what_learned_on_since_is_nobodys_namesake():
    own = FittedOn(format="household", sessions=[session_hash("ann", "s0")], households=["household:seed=3"])
    more = with_sessions(own, SESSIONS[:2])
    assert learned_from(own, ["household:seed=99"], SESSIONS) == 0
    assert learned_from(more, ["household:seed=99"], SESSIONS) == 2  # which may be those


def test_only_what_is_simulated_throughout_is_known_by_its_households():
    assert households_of(["household:seed=4", "household:seed=3,days=9", "household:seed=3"]) == [
        "household:seed=3",
        "household:seed=4",
    ]
    assert households_of(["household:seed=3", "logs/mine.jsonl"]) == []


ONLINE = """
name = "tiny"
model = "online"

[data]
format = "household"
kinds = ["component"]
"""


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["preloader", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_a_bundle_is_tested_on_a_household_of_another_seed_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.toml").write_text(ONLINE)
    bundle = tmp_path / "bundle"
    seed_3 = "household:users=2,days=20,seed=3"
    assert command(monkeypatch, "train", "--history", seed_3, "--recipe", tmp_path / "tiny.toml", "--out", bundle) == 0
    assert load_bundle(bundle).manifest.fitted_on.households == ["household:seed=3"]
    judged = ("--bundle", bundle, "--fit-percent", 20, "--bootstraps", 10)
    assert command(monkeypatch, "evaluate", seed_3, *judged) == 2
    assert f"{bundle} learned from " in capsys.readouterr().err
    assert command(monkeypatch, "evaluate", "household:users=2,days=20,seed=99", *judged) == 0


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
