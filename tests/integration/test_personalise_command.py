"""``preloader personalise``, from a trained bundle to a bundle of one user's own."""

import json

import pytest
from typer.testing import CliRunner

from preloader.cli import build
from preloader.history import write
from preloader.history.partitions import write_partitions
from preloader.prediction import load_bundle
from preloader.testing import random_events
from tests.integration.held_users import watch

RECIPE = """\
name = "tiny"
model = "sequence"
[data]
format = "jsonl"
kinds = ["component"]
min_sessions = 4
min_items = 20
[sequence]
coreml = []
refit = false
[network]
width = 16
hidden = 24
word_width = 8
user_width = 4
[training]
epochs = 4
rate = 0.01
[validation]
bootstraps = 5
baselines = []
"""


def run(*words: object):
    return CliRunner().invoke(build(), [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of three users, and the history of another, who is not among them."""
    folder = tmp_path_factory.mktemp("personal")
    (folder / "recipe.toml").write_text(RECIPE)
    write(random_events(5, users=3, sessions=14, length=16), folder / "history.jsonl", "jsonl")
    write(random_events(9, users=1, sessions=30, length=16, items=24), folder / "own.jsonl", "jsonl")
    words = ("train", "--history", folder / "history.jsonl", "--recipe", folder / "recipe.toml", "--out", folder / "b")
    done = run(*words)
    assert done.exit_code == 0, done.output
    return folder


def test_a_user_gets_an_adapter_and_a_bundle_that_predicts(made):
    words = ("personalise", "--base", made / "b", "--history", made / "own.jsonl", "--out", made / "out")
    done = run(*words, "--json")
    assert done.exit_code == 0, done.exception
    (user,) = json.loads(done.stdout)["users"]
    figures = {row["predictor"]: row["log_loss"] for row in user["rows"]}
    assert user["kept"]
    assert figures["personalised"] < figures["base"]
    (place,) = [path for path in (made / "out").iterdir() if path.name.startswith("user0-")]
    bundle = load_bundle(place)
    scored = run("evaluate", made / "own.jsonl", "--bundle", place, "--predictor", "mixture", "--json")
    assert scored.exit_code == 0, scored.exception
    assert bundle.manifest.fitted_on is not None
    assert bundle.manifest.fitted_on.holds("user0", "session0")


def test_unknown_users_and_bundles_without_a_network_are_refused(made):
    words = ("personalise", "--history", made / "own.jsonl", "--out", made / "none")
    refused = run(*words, "--base", made / "b", "--user", "nobody")
    assert "--user 'nobody' has no sessions" in str(refused.exception)
    refused = run(*words, "--base", made / "absent")
    assert "absent" in str(refused.exception)
    assert not (made / "none").exists()


@pytest.fixture
def partitioned(tmp_path):
    """The same history twice: in one file, and partitioned by its users, of whom one has too few sessions."""
    events = random_events(9, users=3, sessions=5, length=6)
    events += [one for one in random_events(4, users=4, sessions=2, length=4) if one.user == "user3"]
    write(events, tmp_path / "one.jsonl", "jsonl")
    write_partitions(events, tmp_path / "many")
    return tmp_path


def test_a_partitioned_history_gives_the_same_with_one_user_held_at_a_time(made, partitioned, monkeypatch):
    pytest.importorskip("pyarrow")
    alive = watch(monkeypatch)
    words = ("personalise", "--base", made / "b", "--out", partitioned / "out", "--json", "--history")
    together = run(*words, partitioned / "one.jsonl")
    assert together.exit_code == 0, together.exception
    assert not alive
    apart = run(*words, partitioned / "many")
    assert apart.exit_code == 0, apart.exception
    assert json.loads(apart.stdout) == json.loads(together.stdout)
    assert len({one["user"] for one in json.loads(apart.stdout)["users"]}) == 3
    assert max(map(len, alive)) == 1
    assert set.union(*alive) == {"user0", "user1", "user2"}  # the fourth is read last, once


def test_one_user_of_a_partitioned_history_is_read_alone(made, partitioned):
    for part in partitioned.glob("many/*/*.parquet"):
        if "user=user1" not in str(part):
            part.write_bytes(b"damaged")
    words = (
        "personalise",
        "--base",
        made / "b",
        "--out",
        partitioned / "out",
        "--json",
        "--history",
        partitioned / "many",
    )
    done = run(*words, "--user", "user1")
    assert done.exit_code == 0, done.exception
    assert [one["user"] for one in json.loads(done.stdout)["users"]] == ["user1"]
    refused = run(*words, "--user", "nobody")
    assert "--user 'nobody' has no sessions" in str(refused.exception)
    assert "the history has user0, user1, user2, user3" in str(refused.exception)
