"""``preloader replay``: its documents, its inputs, what it refuses, and its figures on the public data sets."""

import os
import sys

import msgspec
import pytest

from preloader.cli import main
from preloader.history import SplitRule, load_sessions, split_sessions, write
from preloader.prediction import OnlinePredictor, save_bundle
from preloader.prediction.manifest import FittedOn, session_hash
from preloader.replay.comparators import RUNS
from preloader.testing import random_events
from tests.integration.replay_plans import KIND


@pytest.fixture
def run_cli(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = 0 if ended.value.code is None else ended.value.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.jsonl"
    write(random_events(seed=7, users=2, sessions=10, length=25), path, "jsonl")
    return path


def test_json_has_the_shape_that_other_programs_read(run_cli, history):
    code, out, _ = run_cli("replay", history, "--component", KIND, "--size-seeds", 2, "--json")
    printed = msgspec.json.decode(out)
    assert code == 0
    assert [row["run"] for row in printed["rows"]] == list(RUNS)
    for name in (
        "timely_hit_rate",
        "coverage",
        "waste",
        "waste_bytes",
        "pollution",
        "time_saved",
        "preloads",
        "spread",
    ):
        assert all(name in row for row in printed["rows"])
    assert printed["events_per_second"] > 0
    assert printed["protocol"]["size_seeds"] == [0, 1]
    assert printed["data"]["events"] > 0


def test_the_table_names_all_four_runs(run_cli, history):
    code, out, _ = run_cli("replay", history, "--component", KIND, "--limit-sessions", 2)
    assert code == 0
    assert all(run.replace("_", " ") in out for run in RUNS)


def test_a_history_of_its_own_to_learn_from(run_cli, history, tmp_path):
    test = tmp_path / "later.jsonl"
    write(random_events(seed=7, users=2, sessions=2, length=25), test, "jsonl")
    code, out, _ = run_cli("replay", test, "--train", history, "--component", KIND, "--json")
    assert code == 0
    assert msgspec.json.decode(out)["data"]["sessions"] == 4


def save_fitted(path, sessions):
    predictor = OnlinePredictor(kinds=(KIND,), horizon=3)
    for session in sessions:
        for event in session.events:
            predictor.learn_one(event.known_at(event.time_s))
    hashes = sorted(session_hash(session.user, session.session) for session in sessions)
    fitted_on = FittedOn(format="jsonl", description="", licence="", sessions=hashes, events=1, last_s=0.0)
    save_bundle(path, predictor.snapshot(), fitted_on=fitted_on)


def test_a_bundle_stands_for_learning_the_same_history(run_cli, history, tmp_path):
    fit, _ = split_sessions(load_sessions([history]), SplitRule())
    save_fitted(tmp_path / "bundle", fit)
    outputs = [
        msgspec.json.decode(run_cli("replay", history, "--component", KIND, *options, "--json")[1])["rows"]
        for options in ([], ["--bundle", tmp_path / "bundle"])
    ]
    assert outputs[0] == outputs[1]


def test_a_bundle_that_has_seen_the_test_is_refused(run_cli, history, tmp_path):
    save_fitted(tmp_path / "bundle", load_sessions([history]))
    code, out, err = run_cli("replay", history, "--component", KIND, "--bundle", tmp_path / "bundle")
    assert (code, out) == (2, "")
    assert "was fitted on 4 of the 4 sessions to be replayed" in err


def test_a_bundle_of_other_kinds_is_refused_as_evaluate_does(run_cli, history, tmp_path):
    save_bundle(tmp_path / "bundle", OnlinePredictor(kinds=("lamp", "door"), horizon=3).snapshot())
    sentence = f"{tmp_path / 'bundle'} predicts lamp, door, and the target is {KIND!r}"
    for command, named in (("replay", "--component"), ("evaluate", "--target")):
        code, out, err = run_cli(command, history, named, KIND, "--bundle", tmp_path / "bundle")
        assert (code, out) == (2, "")
        assert sentence in " ".join(err.split())


def test_a_simulated_household_declares_its_components(run_cli):
    code, out, _ = run_cli("replay", "household:seed=3,users=2,days=7", "--json")
    printed = msgspec.json.decode(out)
    assert code == 0
    assert printed["protocol"]["component"] == "component"
    assert printed["protocol"]["sizes"] == "declared"
    drawn = run_cli("replay", "household:seed=3,users=2,days=7", "--size-seed", 1, "--json")[1]
    assert msgspec.json.decode(drawn)["protocol"]["size_seeds"] == [1]


def test_a_registry_gives_sizes_and_dependencies_and_must_know_every_component(run_cli, tmp_path):
    registry = tmp_path / "components.toml"
    parts = "".join(
        f"[components.item{number}]\nloader = 'simulated'\nbytes = 1000\nload_s = 2.0\nrequires = ['base']\n"
        for number in range(12)
    )
    registry.write_text(parts + "[components.base]\nloader = 'simulated'\nbytes = 5000\nload_s = 8.0\n")
    path = tmp_path / "history.jsonl"
    write(random_events(seed=7, users=2, sessions=10, length=25), path, "jsonl")
    code, out, _ = run_cli("replay", path, "--registry", registry, "--budget", 2, "--json")
    printed = msgspec.json.decode(out)
    assert code == 0
    assert printed["protocol"]["capacity_bytes"] == 2 * 6_000
    assert printed["rows"][0]["wait_p50_s"] <= 10.0
    registry.write_text("[components.other]\nloader = 'simulated'\nbytes = 1\nload_s = 1.0\n")
    code, _, err = run_cli("replay", path, "--registry", registry)
    assert code == 2
    assert "item" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--component", KIND, "--registry", "components.toml", "--size-seed", "1"], "--registry"),
        (["--component", "skill"], "'skill'"),
        (["--component", KIND, "--policy", "magic"], "'magic'"),
        (["--component", KIND, "--eviction", "magic"], "'magic'"),
        (["--component", KIND, "--waste", "1.5"], "1.5"),
        (["--component", KIND, "--budget", "0"], "--budget 0"),
        (["--component", KIND, "--budget", "nan"], "--budget nan"),
        (["--component", KIND, "--limit-sessions", "0"], "--limit-sessions 0"),
        (["--component", KIND, "--size-seeds", "0"], "--size-seeds 0"),
        (["--component", KIND, "--size-seed", str(2**70)], "--size-seed"),
        (["--component", KIND, "--format", "nonsense"], "'nonsense'"),
        (["--component", KIND, "--train", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--component", KIND, "--bundle", "nowhere"], "nowhere"),
        (["--component", KIND, "--report", "/dev/null/report.html"], "/dev/null"),
        (["--component", KIND, "--emit-outcomes", "/dev/null/rows.jsonl"], "/dev/null"),
    ],
)
def test_bad_arguments_end_with_2_and_one_sentence(run_cli, history, arguments, named):
    code, out, err = run_cli("replay", history, *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_interrupted_it_leaves_no_half_written_file(monkeypatch, run_cli, history, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("preloader.replay.outcomes.OutcomeRecorder.see", interrupt)
    out = tmp_path / "out"
    code, _, err = run_cli(
        "replay", history, "--component", KIND, "--report", out / "report.html", "--emit-outcomes", out / "rows.parquet"
    )
    assert code == 130
    assert "Traceback" not in err
    assert list(out.iterdir()) == []


def replay_of_data(run_cli, name, component, sessions):
    folder = os.environ.get("PRELOADER_DATASETS")
    if not folder:
        pytest.skip("PRELOADER_DATASETS is not set")
    code, out, _ = run_cli(
        "replay", f"{folder}/{name}", "--component", component, "--limit-sessions", sessions, "--json"
    )
    assert code == 0
    return {row["run"]: row for row in msgspec.json.decode(out)["rows"]}


def test_on_coding_agents_preloading_lies_between_lru_and_the_clairvoyant(run_cli):
    rows = replay_of_data(run_cli, "agent-sessions/events.jsonl.gz", "tool_command", 10)
    assert (
        rows["lru"]["timely_hit_rate"] < rows["preloader"]["timely_hit_rate"] < rows["clairvoyant"]["timely_hit_rate"]
    )


def test_on_dialogues_the_words_cover_much_of_what_lru_misses(run_cli):
    rows = replay_of_data(run_cli, "sgd/dev.jsonl.gz", "skill", 150)
    assert rows["preloader"]["coverage"] > 0.25
    assert rows["clairvoyant"]["coverage"] > 0.9
