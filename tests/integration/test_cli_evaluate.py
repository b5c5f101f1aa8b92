import random
import sys
from pathlib import Path

import msgspec
import pytest

from preloader import cli
from preloader.events import Event
from preloader.prediction import FittedOn, OnlinePredictor, save_bundle
from preloader.prediction.bundle import Bundle
from preloader.prediction.manifest import session_hash

SHIPPED = Path(__file__).parents[2] / "models" / "default"

ROW = [
    *("predictor", "learn", "step", "n", "top1", "top3", "top5", "mrr", "log_loss", "ece", "ece_decisions"),
    *("top1_low", "top1_high", "mrr_low", "mrr_high"),
]


def write(path, sessions, seed=0, user="ann", kind="tool", prefix="s"):
    """Sessions that go a b c, a b c, …, and astray now and then."""
    generator = random.Random(seed)
    encoder, lines = msgspec.json.Encoder(), []
    for number in range(sessions):
        for position in range(9):
            item = "abc"[position % 3] if generator.random() < 0.8 else generator.choice("abcd")
            lines.append(
                encoder.encode(
                    Event(
                        user=user,
                        session=f"{prefix}{number}",
                        time_s=1_000.0 * number + position,
                        action="use",
                        resources=(f"{kind}:{item}",),
                    )
                )
            )
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; returns its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def history(tmp_path):
    return write(tmp_path / "history.jsonl", 30)


def test_json_has_every_predictor_frozen_and_online_at_every_step(run, history):
    code, out, err = run("evaluate", history, "--target", "tool", "--bootstraps", 50, "--json")
    assert (code, err) == (0, "")
    document = msgspec.json.decode(out)
    assert list(document) == ["data", "protocol", "rows"]
    assert [list(row) for row in document["rows"]] == [ROW] * len(document["rows"])
    names = ["popular", "user_frequency", "most_recent", "order1", "order2", "order2_user", "online"]
    expected = [(name, learn, step) for name in names for learn in ("frozen", "online") for step in (1, 2, 3)]
    assert [(row["predictor"], row["learn"], row["step"]) for row in document["rows"]] == expected
    assert document["data"] | {"fit_sessions": 24, "test_sessions": 6, "test_items": 54} == document["data"]
    figures = {(row["predictor"], row["learn"]): row["top1"] for row in document["rows"] if row["step"] == 1}
    assert figures["order1", "frozen"] > 0.6 > figures["popular", "frozen"]


def test_options_restrict_what_is_scored(run, history):
    arguments = ("--learn", "frozen", "--predictor", "order1", "--predictor", "popular", "--steps", 2, "--repeats")
    kept, dropped = (
        msgspec.json.decode(run("evaluate", history, *arguments, repeats, "--json")[1])
        for repeats in ("kept", "dropped")
    )
    rows = [(row["predictor"], row["learn"], row["step"]) for row in kept["rows"]]
    assert rows == [
        ("order1", "frozen", 1),
        ("order1", "frozen", 2),
        ("popular", "frozen", 1),
        ("popular", "frozen", 2),
    ]
    assert dropped["rows"][0]["n"] < kept["rows"][0]["n"]
    assert (kept["protocol"]["repeats"], dropped["protocol"]["repeats"]) == ("kept", "dropped")


def test_the_same_command_prints_the_same(run, history):
    arguments = ("evaluate", history, "--seed", 7, "--bootstraps", 20, "--predictor", "online", "--json")
    assert run(*arguments) == run(*arguments)


def test_train_is_learned_whole_and_the_test_counts_whole(run, history, tmp_path):
    other = write(tmp_path / "other.jsonl", 3, seed=1, user="bob")
    code, out, _ = run("evaluate", other, "--train", history, "--predictor", "order2", "--learn", "frozen", "--json")
    document = msgspec.json.decode(out)
    assert code == 0
    assert document["data"] | {"fit_sessions": 30, "test_sessions": 3, "test_items": 27} == document["data"]
    assert document["protocol"]["split"] == "train"


def test_the_table_begins_with_the_next_item(run, history):
    code, out, err = run("evaluate", history, "--predictor", "order1", "--steps", 2)
    assert (code, err) == (0, "")
    assert out.startswith("tool: 54 items of 6 sessions")
    assert out.index("Step 1, the next item, frozen") < out.index("Step 1, the next item, online") < out.index("Step 2")
    assert max(map(len, out.splitlines())) <= 80


def bundle(path, kinds=("tool",), fitted_on=True, sessions=range(24), horizon=3):
    """Save an online predictor that learned some sessions of the history."""
    predictor = OnlinePredictor(kinds=kinds, horizon=horizon)
    hashes = sorted(session_hash("ann", f"s{number}") for number in sessions)
    save_bundle(path, predictor.snapshot(), fitted_on=FittedOn(format="jsonl", sessions=hashes) if fitted_on else None)
    return path


def test_a_bundle_stands_in_for_a_new_predictor_of_its_name(run, history, tmp_path):
    saved = bundle(tmp_path / "saved")
    code, out, _ = run("evaluate", history, "--bundle", saved, "--predictor", "online", "--learn", "frozen", "--json")
    rows = msgspec.json.decode(out)["rows"]
    assert code == 0
    assert {row["predictor"] for row in rows} == {"online"}
    assert [row["top1"] for row in rows] == [0.0] * 3  # the one saved had learned nothing


def test_a_bundle_that_cannot_be_judged_is_refused(run, history, tmp_path):
    def sentence(name, *arguments, **options):
        return refused(run, history, "--bundle", bundle(tmp_path / name, **options), *arguments)

    assert "learned from 2 of the 6 test sessions" in sentence("overlapping", sessions=range(26))
    assert "does not say what it learned from" in sentence("unsaid", fitted_on=False)
    assert "predicts file, and the target is 'tool'" in sentence("files", kinds=("file",))
    assert "--steps 3 is too many" in sentence("short", horizon=2)
    assert "cannot be read" in refused(run, history, "--bundle", tmp_path / "none")


HOUSEHOLD = "household:seed=7,users=2,days=7"  # a beginning: later the online predictor knows as much


def rows_of(run, *arguments):
    code, out, _ = run("evaluate", *arguments, "--steps", 1, "--bootstraps", 20, "--json")
    assert code == 0
    return {(row["predictor"], row["learn"]): row for row in msgspec.json.decode(out)["rows"]}


def test_a_bundle_without_a_vocabulary_learns_the_fit_part_first(run):
    pytest.importorskip("onnxruntime")
    rows = rows_of(run, HOUSEHOLD, "--bundle", SHIPPED)
    assert {name for name, _ in rows} >= {"mixture", "anonymous", "online", "order2"}
    assert len({row["n"] for row in rows.values()}) == 1
    for learn in ("frozen", "online"):
        online = rows["online", learn]
        for name in ("mixture", "anonymous"):
            assert rows[name, learn]["top1"] > online["top1"] > rows["order2", learn]["top1"]
            assert rows[name, learn]["log_loss"] < online["log_loss"]


def test_a_network_that_is_done_is_said_to_be_and_the_mixture_is_what_is_served(run):
    pytest.importorskip("onnxruntime")
    arguments = ("household:seed=7,users=3,days=21", "--bundle", SHIPPED)
    named = [word for name in ("mixture", "anonymous", "online") for word in ("--predictor", name)]
    _, out, _ = run("evaluate", *arguments, *named, "--bootstraps", 5, "--json")
    rows = msgspec.json.decode(out)["rows"]
    figures = {name: [row for row in rows if row["predictor"] == name] for name in ("mixture", "anonymous", "online")}
    assert figures["mixture"] == [row | {"predictor": "mixture"} for row in figures["online"]]
    assert {row["top1"] for row in figures["anonymous"]} == {0.0}
    _, _, err = run("evaluate", *arguments, "--predictor", "order1", "--bootstraps", 5)
    assert "The network 'anonymous' says nothing of a kind that came 1,000 times, and 1," in err
    _, _, err = run("evaluate", HOUSEHOLD, "--bundle", SHIPPED, "--predictor", "order1", "--bootstraps", 5)
    assert err == ""


def test_a_bundle_that_knows_its_kinds_is_scored_as_it_is(run, history, tmp_path):
    saved = bundle(tmp_path / "saved", kinds=("tool",))
    assert rows_of(run, history, "--bundle", saved, "--predictor", "online")["online", "frozen"]["top1"] == 0.0


def test_a_bundle_is_put_together_once_for_its_names_and_once_for_each_row(run, monkeypatch):
    pytest.importorskip("onnxruntime")
    made = []
    predictor = Bundle.predictor
    monkeypatch.setattr(Bundle, "predictor", lambda *given, **named: made.append(1) or predictor(*given, **named))
    small = "household:seed=7,users=1,days=7"
    rows_of(run, small, "--bundle", SHIPPED, "--predictor", "order1")
    assert len(made) == 1
    rows_of(run, small, "--bundle", SHIPPED, "--predictor", "mixture", "--predictor", "anonymous")
    assert len(made) == 1 + 3


@pytest.mark.parametrize("spec", ["household:seed=101,users=2", "household:days=60,seed=101,users=4"])
def test_a_household_that_a_bundle_learned_is_refused_whatever_else_its_spec_says(run, spec):
    err = refused(run, spec, "--fit-percent", 20, "--bundle", SHIPPED)
    assert "models/default learned from " in err
    assert "test sessions; test it on others" in err


def refused(run, *arguments):
    code, out, err = run("evaluate", *arguments)
    assert (code, out) == (2, "")
    return err


def test_mistakes_are_named_in_one_sentence(run, history, tmp_path):
    few = write(tmp_path / "few.jsonl", 1)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    mistakes = {
        (history, "--target", "file"): "--target 'file' is not a kind that jsonl histories have; choose from: tool",
        (history, "--predictor", "oracle"): "--predictor 'oracle' is not known; choose from: popular, ",
        (history, "--format", "xml"): "format 'xml' is not known; it must be one of jsonl, ",
        (history, "--train", history): "30 sessions, such as 's0' of 'ann', are in --train and in the test",
        (few,): "too few sessions with items of the kind 'tool' to be split, 1: a stream of at least 2 is needed",
        (tmp_path / "none.jsonl",): "none.jsonl: no such file or directory",
        (empty, "--format", "jsonl"): "empty.jsonl: the history holds no events",
    }
    for arguments, sentence in mistakes.items():
        err = refused(run, *arguments)
        assert sentence in err
        assert len(err.splitlines()) == 1


def test_malformed_records_are_skipped_and_named_on_stderr(run, history):
    with Path(history).open("a") as file:
        file.write('{"user": 1}\n')
    code, _, err = run("evaluate", history, "--predictor", "popular")
    assert code == 0
    assert "Skipped 1 malformed records; the first is " in err
    assert "history.jsonl:271" in err


@pytest.mark.parametrize("mistake", [("--steps", "0"), ("--steps", "99"), ("--repeats", "some"), ("--learn", "all")])
def test_values_out_of_range_are_refused(run, history, mistake):
    assert mistake[0] in refused(run, history, *mistake)


def test_a_target_without_items_is_refused_with_what_there_is(run, tmp_path, history):
    files = write(tmp_path / "files.jsonl", 3, kind="file", user="bob")
    err = refused(run, files, "--train", history, "--target", "file")
    assert "no event of the history to learn from uses a resource of the kind 'file'; it has tool" in err
