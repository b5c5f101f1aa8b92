"""A model without a vocabulary, from a recipe to a running assistant: trained, saved, opened, and put in service."""

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from typer.testing import CliRunner

from preloader import PreloadManager
from preloader.cli import build
from preloader.errors import ConfigurationError
from preloader.events import Context, Event
from preloader.learning import fit_sources, leave_out
from preloader.learning.anonymous_recipe import read_anonymous_recipe
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor, load_bundle
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.testing import FakeProvider

SHIPPED = Path(__file__).parents[2] / "models" / "default"
RECIPE = """
name = "tiny"
model = "anonymous"
invented = 8

[[sources]]
format = "household"
kinds = ["component"]
shared = true
max_items = 300
min_items = 50
licence = "Apache-2.0"

[anonymous]
batches = 10
batch = 32
features = { candidates = 16, recent = 6 }
network = { width = 16, slot_width = 8, hidden = 16 }
"""
HOUSEHOLDS = ("household:seed=1,users=2,days=50", "household:seed=2,users=2,days=50")


def spoken(steps, user="new", kind="dish"):
    """Yield a new assistant's events: three resources that nobody knows, in turn."""
    for at in range(steps):
        yield Event(
            user=user,
            session=f"s{at // 30}",
            time_s=1.8e9 + 10.0 * at,
            action="cook",
            resources=(f"{kind}:{'abc'[at % 3]}",),
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A bundle that the command wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(RECIPE)
    histories = [word for name in HOUSEHOLDS for word in ("--history", name)]
    options = ["--recipe", str(folder / "tiny.toml"), "--out", str(folder / "tiny"), "--json"]
    result = CliRunner().invoke(build(), ["train", *histories, *options])
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_a_trained_bundle_says_what_it_is_and_holds_no_key(trained):
    folder, told = trained
    bundle = load_bundle(folder / "tiny")
    assert bundle.manifest.kinds is None
    assert bundle.manifest.facts.sources[0].licence == "Apache-2.0"
    assert told["verification"][0] == "compared on 1,024 distinct inputs"
    assert set(told["validation"]["household component"]) == {"online", "anonymous", "mixture"}
    assert not any(b"component:" in data for data in bundle.files.values())
    assert b"component:" not in (folder / "tiny" / "state.json").read_bytes()


def test_where_too_little_was_held_out_that_is_said_instead_of_a_table_without_rows(trained, tmp_path):
    command = ["train", "--history", "household:seed=1,users=2,days=20", "--recipe", str(trained[0] / "tiny.toml")]
    result = CliRunner().invoke(build(), [*command, "--out", str(tmp_path / "tiny"), "--set", "anonymous.batches=2"])
    assert result.exit_code == 0, result.output
    told = "No stream of what was held out has more than 200 events"
    assert f"New assistants, begun with what was held out: the next item: no figures. {told}" in result.stdout
    assert "top-1" not in result.stdout
    card = (tmp_path / "tiny" / "CARD.md").read_text()
    assert f"\n\nNone. {told}" in card
    assert "| top-1" not in card


def test_a_bundle_that_has_learned_is_the_same_after_a_round_trip(trained):
    bundle = load_bundle(trained[0] / "tiny")
    predictor = bundle.predictor()
    for event in spoken(40):
        predictor.learn_one(event)
    again = bundle.predictor()
    again.restore(predictor.snapshot())
    context = Context("new", "s9")
    assert again.predict(context) == predictor.predict(context) != []
    assert again.experts[1]._online is again.experts[0]  # one online predictor, not two


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    with threadpool_limits(2):
        torch.set_num_threads(2)
        yield
        assert torch.get_num_threads() == 2
        torch.set_num_threads(before)


@pytest.fixture
def threads(monkeypatch):
    """On how many threads networks are fitted from now on."""
    found = set()

    def counted(fit, *arguments):
        found.update([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())])
        return fit(*arguments)

    for module, name in ((fit_sources, "fit_examples"), (leave_out, "fit_anonymous")):
        monkeypatch.setattr(module, name, partial(counted, getattr(module, name)))
    return found


def test_a_network_is_fitted_on_one_thread_however_many_there_are(trained, tmp_path, two_threads, threads):
    histories = [word for name in HOUSEHOLDS for word in ("--history", name)]
    out = tmp_path / "tiny"
    arguments = ["train", *histories, "--recipe", str(trained[0] / "tiny.toml"), "--out", str(out)]
    assert CliRunner().invoke(build(), arguments).exit_code == 0
    assert threads == {1}


def test_a_bundle_can_be_held_to_one_kind(trained):
    predictor = load_bundle(trained[0] / "tiny").predictor(kinds=("dish",))
    for kind in ("dish", "song"):
        for event in spoken(9, kind=kind):
            predictor.learn_one(event)
    assert predictor.kinds == ("dish",)
    assert {one.key.partition(":")[0] for one in predictor.predict(Context("new", "s0"))} == {"dish"}


def test_a_source_without_a_history_and_a_history_without_a_source_are_refused(trained, tmp_path):
    folder, _ = trained
    two = tmp_path / "two.toml"
    two.write_text(RECIPE + '\n[[sources]]\nformat = "tau2"\nkinds = ["tool"]\n')
    arguments = ["train", "--out", str(tmp_path / "out"), "--history", HOUSEHOLDS[0], "--recipe"]
    missing = CliRunner().invoke(build(), [*arguments, str(two)])
    assert isinstance(missing.exception, ConfigurationError)
    assert "no --history is of the format tau2" in str(missing.exception)
    log = tmp_path / "log.jsonl"
    log.write_text('{"time_s": 1, "action": "a", "user": "u", "session": "s", "resources": ["k:a"]}\n')
    foreign = CliRunner().invoke(build(), [*arguments, str(folder / "tiny.toml"), "--history", str(log)])
    assert "learns from household" in str(foreign.exception)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('format = "household"', 'fromat = "household"', "did you mean 'format'?"),
        ("batch = 32", "batch = 0", "anonymous.batch"),
        ('kinds = ["component"]', "kinds = []", "sources[0].kinds"),
    ],
)
def test_a_mistake_in_a_recipe_is_shown_in_place(tmp_path, old, new, complaint):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(RECIPE.replace(old, new))
    with pytest.raises(ConfigurationError) as raised:
        read_anonymous_recipe(wrong)
    assert complaint in str(raised.value)
    assert "wrong.toml:" in str(raised.value)


def test_leaving_a_source_out_compares_three_predictors_on_the_same_items(trained, two_threads, threads):
    folder, _ = trained
    arguments = ["leave-out", "household", "--recipe", str(folder / "tiny.toml"), "--history", HOUSEHOLDS[0]]
    result = CliRunner().invoke(build(), [*arguments, "--starts", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert threads == {1}
    gains = json.loads(result.stdout)["gains"]["component"]
    assert set(gains) == {"online", "anonymous", "mixture"}
    assert len({one["metrics"]["n"] for one in gains.values()}) == 1


def test_the_shipped_bundle_is_small_and_names_no_machine():
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5_000_000
    places = [f"/{folder.name}/".encode() for folder in Path("/").iterdir() if folder.is_dir()]
    assert len(places) > 5
    assert not any(place in file.read_bytes() for file in files for place in places)
    assert "household:seed=101" in load_bundle(SHIPPED).manifest.command


def test_the_shipped_bundle_learns_a_kind_that_nobody_knew():
    predictor = load_bundle(SHIPPED).predictor()
    for event in spoken(12):
        predictor.learn_one(event)
    context = Context("new", "s0")
    for event in spoken(12):
        context = context.after(event)
    first = predictor.predict(context)[0]
    assert first.key == "dish:a"
    assert first.per_step[0] > 0.6


def test_an_assistant_that_is_no_longer_new_is_left_to_the_online_predictor():
    predictor = load_bundle(SHIPPED).predictor(kinds=("dish",))
    alone = OnlinePredictor(["dish"])
    for event in spoken(1_001):
        predictor.learn_one(event)
        alone.learn_one(event)
    context = Context("new", "s0")
    assert predictor.experts[1].is_done("dish")
    assert predictor.predict(context) == alone.predict(context) != []


def test_a_manager_begins_with_the_shipped_bundle_and_preloads_for_a_new_assistant():
    provider = FakeProvider({f"dish:{name}": Cost(0.1, 10) for name in "abc"})
    manager = PreloadManager({"dish": provider}, bundle=SHIPPED, executor=InlineExecutor())

    async def live():
        async with manager:
            for event in spoken(60):
                manager.observe(event)
                await asyncio.sleep(1)
            return manager.swap_status().live, manager.statistics()

    live_bundle, statistics = run_virtual(live())
    assert live_bundle == str(SHIPPED)
    assert statistics.counts.get("bundles_refused", 0) == 0
    assert sum(statistics.ledger.preloads.values()) + statistics.ledger.open_preloads > 0
