"""From a recipe and a history to a bundle with a card."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from preloader.cli import build
from preloader.errors import ConfigurationError, HistoryError, PreloaderError
from preloader.evaluation import task_of_split
from preloader.events import Context, Event
from preloader.history import load_sessions, reader_of, write
from preloader.learning.anonymous_recipe import is_anonymous, read_anonymous_recipe
from preloader.learning.parts import parts_given, parts_of
from preloader.learning.recipe import read_recipe
from preloader.prediction import load_bundle

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))
HOUSEHOLD = "household:seed=1,users=2,days=6"
RECIPE = """
name = "small"
model = "online"
[data]
format = "household"
kinds = ["component"]
licence = "none: simulated"
min_sessions = 5
min_items = 20
[online]
max_contexts = 500
word_bits = 10
max_sessions = 4
[validation]
bootstraps = 5
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def run(*arguments):
    return CliRunner().invoke(build(), [str(one) for one in arguments])


def trained(recipe, out, *more):
    result = run("train", "--history", HOUSEHOLD, "--recipe", recipe, "--out", out, "--json", *more)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_shipped_recipes_are_right(path):
    read = read_anonymous_recipe if is_anonymous(path) else read_recipe
    assert read(path).name == path.stem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "outcomes.rows=rows.jsonl", "--jobs", "2"], "--backend loky is not used: outcomes.rows are read"),
        (["--set", "outcomes.rows=rows.jsonl", "--backend", "serial"], ""),
        (["--jobs", "2"], ""),
    ],
)
def test_work_that_is_not_divided_says_so(options, said, tmp_path):
    recipe, nowhere = ROOT / "training" / "recipes" / "household.toml", tmp_path / "none.jsonl"
    result = run("train", "--history", nowhere, "--recipe", recipe, "--out", tmp_path / "out", *options)
    assert isinstance(result.exception, HistoryError)
    assert result.stderr.startswith(said)
    assert len(result.stderr.splitlines()) == bool(said)


def test_a_bundle_is_trained_on_the_fit_part_alone(recipe, tmp_path):
    told = trained(recipe, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    rule = reader_of("household").rule
    task = task_of_split(load_sessions([HOUSEHOLD], "household"), rule, "component")
    fitted_on = loaded.manifest.fitted_on
    assert len(fitted_on.sessions) == len(task.fit)
    assert all(fitted_on.holds(session.user, session.session) for session in task.fit)
    assert not any(fitted_on.holds(session.user, session.session) for session in task.test)
    assert loaded.predictor().predict(Context("person1", "new"))
    assert loaded.manifest.command.startswith("preloader train --history household:seed=1")
    rows = told["validation"]["component"]
    assert {(row["predictor"], row["learn"]) for row in rows} == {
        (name, learn) for name in ("online", "order2") for learn in ("frozen", "online")
    }


def test_the_card_holds_data_licence_figures_and_command(recipe, tmp_path):
    trained(recipe, tmp_path / "bundle")
    card = (tmp_path / "bundle" / "CARD.md").read_text()
    for words in ("# small", "none: simulated", "| `component` | online | frozen | 1 |", "preloader train --history"):
        assert words in card


def test_the_card_says_what_was_held_out_and_whether_it_was_learned(recipe, tmp_path):
    sessions = load_sessions([HOUSEHOLD], "household")
    cut = len(sessions) - 8
    for name, part in (("learned", sessions[:cut]), ("held", sessions[cut:])):
        write([event for session in part for event in session.events], tmp_path / f"{name}.jsonl", "jsonl")
    words = ("--recipe", recipe, "--format", "jsonl", "--out", tmp_path / "bundle")
    done = run("train", "--history", tmp_path / "learned.jsonl", "--validation", tmp_path / "held.jsonl", *words)
    assert done.exit_code == 0, done.exception
    card = (tmp_path / "bundle" / "CARD.md").read_text()
    assert f"{cut} sessions were learned; 8 others only validated and calibrated." in card
    assert "in plain words the names of keys" in card
    trained(recipe, tmp_path / "other")
    card = (tmp_path / "other" / "CARD.md").read_text()
    assert "were held out to validate and calibrate, and learned once that was done." in card


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("online", ("--jobs", "2"), "--jobs is not for a recipe with model = 'online'"),
        ("online", ("--backend", "serial"), "--backend is not for"),
        ("anonymous", ("--seed", "0"), "--set anonymous.seed=1"),
        ("anonymous", ("--jobs", "2"), "--jobs is not for a recipe with model = 'anonymous'"),
        ("online", ("--validation", "x", "--fit-percent", "50"), "--fit-percent cuts streams"),
    ],
)
def test_options_that_would_change_nothing_are_refused(recipe, tmp_path, model, options, words):
    recipe.write_text(recipe.read_text().replace('model = "online"', f'model = "{model}"'))
    refused = run("train", "--history", HOUSEHOLD, "--recipe", recipe, "--out", tmp_path / "bundle", *options)
    assert isinstance(refused.exception, ConfigurationError)
    assert words in str(refused.exception)
    assert "\n" not in str(refused.exception)


def test_the_same_command_makes_the_same_bundle(recipe, tmp_path):
    for name in "ab":
        trained(recipe, tmp_path / name / "bundle")
    for file in ("state.json", "arrays.npz"):
        assert (tmp_path / "a" / "bundle" / file).read_bytes() == (tmp_path / "b" / "bundle" / file).read_bytes()


def test_validation_is_held_out_from_the_end_of_each_stream(recipe):
    rule = reader_of("household").rule
    parts = parts_of(load_sessions([HOUSEHOLD], "household"), rule, read_recipe(recipe))
    assert parts.validation
    assert sorted(names(parts.fit) + names(parts.validation)) == sorted(names(parts.whole))
    for user in {one.user for one in parts.validation}:
        fitted = [one.start_s for one in parts.fit if one.user == user]
        held = [one.start_s for one in parts.validation if one.user == user]
        assert max(fitted) <= min(held)
        assert len(fitted) == int(0.8 * (len(fitted) + len(held)))


def test_an_official_part_to_validate_on_leaves_the_history_whole_and_may_not_leak(recipe):
    rule = reader_of("household").rule
    sessions = load_sessions([HOUSEHOLD], "household")
    cut = len(sessions) // 2
    parts = parts_given(sessions[:cut], sessions[cut:], rule, read_recipe(recipe))
    assert len(parts.fit) == len(parts.whole) == cut
    with pytest.raises(HistoryError, match="1 sessions are both to learn from and to validate on") as caught:
        parts_given(sessions[:cut], sessions[cut - 1 :], rule, read_recipe(recipe))
    assert repr(sessions[cut - 1].session) in str(caught.value)


def names(sessions):
    return [(one.user, one.session) for one in sessions]


def test_more_sessions_than_a_bundle_can_name_are_refused_before_anything_is_trained(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("preloader.learning.parts.MAX_SESSIONS", 12)
    with pytest.raises(HistoryError, match="sessions to learn from, and a bundle can name 12: give fewer users"):
        trained(recipe, tmp_path / "bundle")
    held = ("--validation", "household:seed=2,users=2,days=6")
    monkeypatch.setattr("preloader.learning.parts.MAX_SESSIONS", len(load_sessions([HOUSEHOLD], "household")))
    with pytest.raises(HistoryError, match="a bundle can name"):
        trained(recipe, tmp_path / "bundle", *held)


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("thesis.txt", "exists and is no bundle: it is not replaced"),
        ("photos", "exists and is no bundle: it is not replaced"),
        ("thesis.txt/bundle", "cannot be written: {}/thesis.txt is no directory"),
    ],
)
@pytest.mark.parametrize("model", ["online", "anonymous"])
def test_a_place_that_is_no_bundles_is_refused_before_the_work(recipe, tmp_path, out, reason, model):
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "photos").mkdir()
    recipe.write_text(RECIPE.replace('"online"', f'"{model}"', 1))
    before = sorted(tmp_path.rglob("*"))
    result = run("train", "--history", tmp_path / "missing.jsonl", "--recipe", recipe, "--out", tmp_path / out)
    assert str(result.exception) == f"{tmp_path / out} {reason.format(tmp_path)}"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_history_that_is_too_small_is_refused(recipe, tmp_path):
    for more, words in (
        (("--set", "data.min_sessions=1000"), "sessions to learn from"),
        (("--set", "data.min_items=100000"), "items of the kind 'component'"),
        (("--set", "data.kinds=['tool']"), "'tool'"),
    ):
        with pytest.raises(HistoryError, match=words):
            trained(recipe, tmp_path / "bundle", *more)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[data]", "small.toml:5, field 'data.form': is unknown; did you mean 'format'?"),
        ('model = "online"', "small.toml:3, field 'model'"),
        ("max_contexts = 500", "small.toml:11, field 'online.max_contexts'"),
        ("bootstraps = 5", "field 'validation.bootstrap': is unknown; did you mean 'bootstraps'?"),
        ('name = "small"', "small.toml:2, field 'name'"),
    ],
)
def test_a_mistake_in_a_recipe_is_shown_in_place(recipe, line, words):
    wrong = {
        "[data]": "[data]\nform = 7",
        'model = "online"': 'model = "oracle"',
        "max_contexts = 500": "max_contexts = -1",
        "bootstraps = 5": "bootstrap = 5",
        'name = "small"': "name = 3",
    }[line]
    recipe.write_text(RECIPE.replace(line, wrong))
    with pytest.raises(ConfigurationError) as caught:
        read_recipe(recipe)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("online.max_context=1", "did you mean 'online.max_contexts'"),
        ("online.max_contexts=many", "online.max_contexts"),
        ("online.max_contexts=0", "max_contexts"),
        ("nonsense", "no field"),
        ("data.min_items.x=1", "no field"),
    ],
)
def test_a_wrong_override_is_named(recipe, override, words):
    with pytest.raises(PreloaderError, match="--set") as caught:
        read_recipe(recipe, [override])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("network", "width = 0"),
        ("network", "hidden = 1000000"),
        ("network", "word_dropout = 1.0"),
        ("training", "rate = -0.1"),
        ("training", "average = 1.5"),
        ("training", "use_weight = nan"),
        ("training", "weight_decay = inf"),
        ("training", "seed = -1"),
    ],
)
def test_sizes_and_rates_that_make_no_sense_are_refused_in_place(recipe, table, line):
    recipe.write_text(f"{RECIPE}[{table}]\n{line}\n")
    at = len(recipe.read_text().splitlines())
    with pytest.raises(ConfigurationError) as caught:
        read_recipe(recipe)
    field = line.partition(" ")[0]
    assert str(caught.value).startswith(f"{recipe}:{at}, field '{table}.{field}': must be")


def test_overrides_take_the_place_of_what_the_file_says(recipe):
    read = read_recipe(recipe, ["online.max_contexts=777", "data.description=Our own"])
    assert (read.online.max_contexts, read.data.description) == (777, "Our own")


def test_the_shipped_bundle_is_small_labelled_and_predicts():
    path = ROOT / "models" / "household-online"
    assert sum(file.stat().st_size for file in path.iterdir()) <= 300_000
    loaded = load_bundle(path)
    assert "imulated" in (path / "CARD.md").read_text()
    spoken = Event(
        user="person1",
        session="today",
        time_s=1_790_000_000.0,
        action="user",
        text="turn on the lights",
        context={"place": "bedroom"},
    )
    predictions = loaded.predictor().predict(Context("person1", "today").after(spoken))
    assert predictions[0].key == "component:lights"
    assert predictions[0].per_step[0] > 0.5
