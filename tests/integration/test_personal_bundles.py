"""Bundles of one user's own: nothing is learned twice or tested on that the base knows, and they say what they are."""

import json
import stat

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from safetensors.torch import load, save  # noqa: E402

from preloader.cli import build  # noqa: E402
from preloader.errors import BundleError, ConfigurationError, HistoryError  # noqa: E402
from preloader.evaluation import task_of_split  # noqa: E402
from preloader.history import SplitRule, group_sessions, write  # noqa: E402
from preloader.learning.base_weights import decode_network, encode_weights  # noqa: E402
from preloader.learning.personal_bundle import bases_of, online_of, save_personal  # noqa: E402
from preloader.learning.personal_card import PersonalFacts  # noqa: E402
from preloader.learning.personal_scores import scores_of  # noqa: E402
from preloader.learning.personalise import Choice  # noqa: E402
from preloader.prediction import load_bundle  # noqa: E402
from preloader.prediction.users import UserVectors  # noqa: E402
from preloader.testing import random_events  # noqa: E402

RECIPE = """\
name = "tiny"
model = "sequence"
[data]
format = "jsonl"
kinds = ["component", "room"]
licence = "none: made up"
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
epochs = 10
rate = 0.01
[validation]
share = 0.05
bootstraps = 5
baselines = []
"""
RULE = SplitRule()


def run(*words):
    return CliRunner().invoke(build(), [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A history in which one user uses components and two use rooms, and a base that learned nine tenths of it."""
    folder = tmp_path_factory.mktemp("personal")
    (folder / "recipe.toml").write_text(RECIPE)
    events = random_events(9, users=1, sessions=20, length=16)
    events += [one for one in random_events(6, users=3, sessions=20, length=16, kind="room") if one.user != "user0"]
    write(sorted(events, key=lambda one: one.time_s), folder / "history.jsonl", "jsonl")
    words = ("--recipe", folder / "recipe.toml", "--fit-percent", "90", "--out", folder / "base")
    done = run("train", "--history", folder / "history.jsonl", *words)
    assert done.exit_code == 0, done.exception
    return folder, load_bundle(folder / "base"), group_sessions(events)


def own(bundle):
    """Return user0's own network, were it the base's."""
    base = bases_of(bundle)["component"]
    spec = msgspec.structs.replace(base.spec, users=["user0"])
    nothing = np.zeros((1, len(spec.vocabulary) + 1), np.float32)
    return msgspec.structs.replace(base, spec=spec, users=UserVectors(["user0"], base.users.vectors[:1], nothing))


def test_a_user_who_lacks_a_kind_is_skipped_for_it_and_sessions_that_the_base_knows_are_no_test(made, tmp_path):
    folder, _, _ = made
    words = ("--history", folder / "history.jsonl", "--out", tmp_path, "--user", "user0", "--user", "user0")
    done = run("personalise", "--base", folder / "base", *words, "--json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert [(one["user"], one["kind"], one["sessions"]) for one in told["users"]] == [("user0", "component", 16)]
    assert told["skipped"] == [{"user": "user0", "kind": "room", "sessions": 0}]
    assert told["users"][0]["excluded"] == 2  # of four: the base learned 18 of 20 sessions
    assert {row["predictor"] for row in told["users"][0]["rows"]} == {"base", "online", "personalised"}


def test_a_user_without_enough_sessions_of_any_kind_is_refused(made, tmp_path):
    folder, _, _ = made
    write(random_events(9, users=1, sessions=3, length=10), tmp_path / "short.jsonl", "jsonl")
    done = run("personalise", "--base", folder / "base", "--history", tmp_path / "short.jsonl", "--out", tmp_path / "o")
    assert isinstance(done.exception, HistoryError)
    assert "\n" not in str(done.exception)


def test_what_the_base_knows_of_a_user_is_not_learned_again(made, tmp_path):
    _, bundle, sessions = made
    task = task_of_split(sessions, RULE, "component")
    save_personal(tmp_path / "own", bundle, {"component": own(bundle)}, task.fit, "made by a test")
    personal = load_bundle(tmp_path / "own")
    assert online_of(personal).snapshot().meta == online_of(bundle).snapshot().meta
    assert personal.manifest.fitted_on == bundle.manifest.fitted_on
    save_personal(tmp_path / "more", bundle, {"component": own(bundle)}, [*task.fit, task.test[-1]], "made by a test")
    more = load_bundle(tmp_path / "more")
    assert more.manifest.fitted_on.events == bundle.manifest.fitted_on.events + len(task.test[-1].events)
    learned = [online_of(one).snapshot().meta["models"][0]["learned"] for one in (bundle, more)]
    assert learned[0] < learned[1] <= learned[0] + 2 * len(task.test[-1].events)


def test_a_personal_bundle_has_card_facts_and_modes_as_others_have(made, tmp_path):
    folder, bundle, sessions = made
    task = task_of_split(sessions, RULE, "component")
    scores = scores_of(bundle, bases_of(bundle)["component"], own(bundle), task)
    told = PersonalFacts(16, Choice(8, 0.002, 3, 0.5), 1.25, 1.125, scores.rows, scores.excluded)
    save_personal(tmp_path / "own", bundle, {"component": own(bundle)}, task.fit, "made by a test", {"component": told})
    card = (tmp_path / "own" / "CARD.md").read_text()
    for words in ("adapted to user0", "none: made up", "made by a test", "16 sessions at rank 8", "1.250 to 1.125"):
        assert words in card
    assert "2 held-out sessions are left out" in card
    assert "| `component` | personalised | frozen | 1 |" in card
    assert "distinct inputs, all that there are: 1,000 are wanted" in card
    facts = load_bundle(tmp_path / "own").manifest.facts
    assert facts.vocabulary == sum(len(base.spec.vocabulary) for base in bases_of(bundle).values())
    assert set(facts.calibration) == set(facts.verification) == {"component", "room"}
    assert facts.metrics["component"]["excluded"] == 2
    assert facts.sources[0].licence == "none: made up"
    modes = [
        {path.name: stat.S_IMODE(path.stat().st_mode) for path in (place, place / "state.json", place / "CARD.md")}
        for place in (folder / "base", tmp_path / "own")
    ]
    assert list(modes[0].values()) == list(modes[1].values())


def test_a_bundle_that_does_not_say_what_it_learned_is_not_tested(made):
    _, bundle, sessions = made
    base = bases_of(bundle)["component"]
    silent = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, fitted_on=None))
    with pytest.raises(ConfigurationError, match="does not say what it learned from"):
        scores_of(silent, base, base, task_of_split(sessions, RULE, "component"))


def test_a_mean_of_several_networks_is_refused_with_what_to_do(made):
    _, bundle, _ = made
    files = {name: data for name, data in bundle.files.items() if name != "room.safetensors"}
    with pytest.raises(BundleError, match=r"has no room\.safetensors.*train a base with --set sequence\.members=1"):
        bases_of(msgspec.structs.replace(bundle, files=files))


def test_weights_of_other_sizes_than_a_network_may_have_are_refused(made):
    _, bundle, _ = made
    base = bases_of(bundle)["component"]
    intact = load(encode_weights(base))
    assert torch.equal(decode_network(encode_weights(base), base.spec).bias, base.network.bias)
    for name, value, words in (
        ("users.weight", torch.zeros(0, 1 << 40), "no network has such a size"),
        ("network.keys.weight", torch.zeros(0, 1 << 40), "no network has such a size"),
        ("network.recurrent.weight_hh_l0", torch.zeros(0, 4_096), "has shape"),
        ("network.words.weight", torch.zeros(4), "would tell the network's word_width"),
        ("network.bias", torch.zeros(2, 3), r"tensor 'bias' has shape \(2, 3\)"),
        ("network.bias", torch.full(intact["network.bias"].shape, torch.nan), "tensor 'bias' holds other numbers"),
        ("network.further", torch.zeros(2), "tensor 'further' has shape"),
    ):
        with pytest.raises(BundleError, match=words) as caught:
            decode_network(save({**intact, name: value}), base.spec)
        assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match="it is damaged"):
        decode_network(encode_weights(base)[:-10], base.spec)
