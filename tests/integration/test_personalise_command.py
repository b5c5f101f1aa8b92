"""``preloader personalise``, from a trained bundle to a bundle of one user's own."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from preloader.cli import build
from preloader.history import write
from preloader.history.partitions import write_partitions
from preloader.learning.adapter_files import file_name
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


def of_folder(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_bundle_is_written_into_or_replaced_but_a_personal_one(made, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(made / "b", base)
    before = of_folder(base)
    words = ("personalise", "--base", base, "--history", made / "own.jsonl", "--out")
    for out in (base, base / "deep" / "er"):
        assert f"--out {out} would write into the base itself" in str(run(*words, out).exception)
    shutil.copytree(base, tmp_path / "other")
    assert f"would write into the bundle {tmp_path / 'other'}" in str(run(*words, tmp_path / "other").exception)
    place = tmp_path / "out" / file_name("user0").removesuffix(".safetensors")
    shutil.copytree(base, place)
    assert f"would replace {place}, which no run of personalise made" in str(run(*words, place.parent).exception)
    assert of_folder(base) == of_folder(tmp_path / "other") == of_folder(place) == before
    assert not (tmp_path / "out" / "adapters").exists()
    on_itself = ("personalise", "--base", place, "--history", made / "own.jsonl", "--out", place.parent)
    assert f"would replace the base, {place}" in str(run(*on_itself).exception)


def test_of_a_user_who_keeps_the_base_nothing_of_an_earlier_run_stays(made, tmp_path, monkeypatch):
    words = ("personalise", "--base", made / "b", "--history", made / "own.jsonl", "--out", tmp_path)
    adapter = tmp_path / "adapters" / "component" / file_name("user0")
    assert run(*words).exit_code == 0
    assert run(*words).exit_code == 0  # its own bundle may be replaced
    assert adapter.exists()
    others = [tmp_path / "adapters" / "component" / "other.safetensors", tmp_path / "notes" / "mine.txt"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("somebody's")
    monkeypatch.setattr("preloader.learning.personalise._STANDARD_ERRORS", 1e9)
    done = run(*words, "--json")
    assert not json.loads(done.stdout)["users"][0]["kept"]
    assert set(of_folder(tmp_path)) == {other.relative_to(tmp_path) for other in others}


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
