"""Recorded sessions replayed through a workspace, and the commands over its parts."""

import json

import pytest
from typer.testing import CliRunner

from preloader.cli import build
from preloader.history import ReadReport
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.items import Item, Recording
from preloader.workspace.learn.models import load_models
from preloader.workspace.offers import Offers
from preloader.workspace.recorded import Recorded
from preloader.workspace.recordings import recordings
from preloader.workspace.replaying import replay_session
from tests.contract.agent_samples import AGENT_TRANSCRIPTS, CLAUDE_CODE, CODEX
from tests.unit.workspace_tree import repository


def said(at, text):
    return Item("assistant_text", float(at), text)


def called(at, tool, path):
    return Item("tool_call", float(at), id=f"c{at}", tool=tool, arguments={"file_path": path})


def returned(at, call, text=""):
    return Item("tool_result", float(at), text, id=f"c{call}")


SESSION = Recording(
    "owner/shop",
    "s1",
    (
        Item("user_text", 0.0, "The total is wrong."),
        said(10, "Let me look at `src/cart.py`."),
        called(20, "Read", "/home/ann/shop/src/cart.py"),  # said before: ready
        returned(21, 20, "import prices"),
        called(30, "Read", "/home/ann/shop/src/unheard_of.py"),  # nobody named it
        returned(31, 30),
        called(40, "Edit", "/home/ann/shop/src/cart.py"),
        returned(41, 40),
        called(50, "Read", "/home/ann/shop/src/cart.py"),  # written meanwhile, and prepared anew
        returned(51, 50),
        called(60, "Read", "/etc/passwd"),
        called(70, "Read", "/home/ann/shop/.env"),
    ),
)


def test_what_was_said_is_ready_and_what_was_not_is_a_miss():
    replayed = replay_session(SESSION)
    assert (replayed.reads, replayed.cold, replayed.cold_ready) == (3, 2, 1)
    assert (replayed.statistics.hits, replayed.statistics.misses) == (2, 1)
    assert replayed.statistics.correct == 2
    assert replayed.statistics.failures == 0


def test_names_mean_other_files_of_the_repository_too():
    session = Recording(SESSION.repository, "s9", (said(5, "It is in `cart.py`."), *SESSION.items[2:4]))
    others = ["~/cart.py", "src/*/cart.py", "/etc/cart.py", "src/.env"]  # none of them a file that could be read
    for files in ((), others):
        replayed = replay_session(session, files=files)
        assert (replayed.prepared, replayed.prepared_then_read) == (1, 1)
    assert replay_session(session, files=["lib/cart.py"]).cold_ready == 0  # either may be meant: neither is likely


def test_what_a_later_query_reads_was_waste_and_is_ready_all_the_same():
    asked = Item("user_text", 15.0, "And another thing.")
    replayed = replay_session(Recording("owner/shop", "s8", (*SESSION.items[:2], asked, *SESSION.items[2:3])))
    assert (replayed.prepared, replayed.prepared_then_read, replayed.cold_ready) == (1, 1, 1)
    assert (replayed.statistics.correct, replayed.statistics.incorrect) == (0, 1)


def test_earlier_sessions_teach_and_all_of_them_name_files():
    recorded = Recorded()
    recorded.look(SESSION, is_earlier=True)
    recorded.look(SEARCHED, is_earlier=False)
    assert {"src/cart.py", "src/unheard_of.py", "src/prices.py"} <= recorded.files.keys()
    assert {"src/cart.py", "src/unheard_of.py"} <= recorded.known.files.read.keys()
    assert "src/prices.py" not in recorded.known.files.read


def test_what_a_call_names_is_offered_for_it_unless_the_call_edits(monkeypatch):
    offered = []
    monkeypatch.setattr(Offers, "announced", lambda _, path, __: offered.append(path))
    calls = [called(10, "Edit", "/home/ann/shop/src/a.py"), called(20, "Read", "/home/ann/shop/src/b.py")]
    assert replay_session(Recording("owner/shop", "s7", tuple(calls))).statistics.failures == 0
    assert offered == ["src/b.py"]


def test_the_sessions_held_out_are_the_last_of_each_repository(tmp_path, run):
    line = next(one for one in AGENT_TRANSCRIPTS.records if '"session"' in one)
    first = json.loads(line)
    sessions = [{**first, "session": f"s{number}"} for number in range(10)]
    path = tmp_path / AGENT_TRANSCRIPTS.file
    path.write_text("".join(f"{json.dumps(one)}\n" for one in sessions))
    document = json.loads(run("replay", path, "--held-out", "--json").stdout)
    assert [one["session"] for one in document["sessions"]] == ["s8", "s9"]


def test_time_is_saved_by_what_loads_before_it_is_read():
    replayed = replay_session(SESSION, load_s=2.0)
    assert replayed.statistics.saved_s == pytest.approx(4.0)
    assert replayed.statistics.background_s >= 4.0


def test_a_load_that_takes_longer_than_the_pause_is_joined():
    replayed = replay_session(SESSION, load_s=12.0)
    assert replayed.statistics.late_hits >= 1
    assert replayed.cold_ready == 1


def test_the_same_session_replays_the_same():
    assert replay_session(SESSION) == replay_session(SESSION)


SEARCHED = Recording(
    "owner/shop",
    "s2",
    (
        Item("user_text", 0.0, "The total in src/cart.py is wrong."),
        Item("tool_call", 5.0, id="c5", tool="Grep", arguments={"pattern": "total"}),
        returned(6, 5, "src/cart.py:3:total = 1\nsrc/prices.py:9: total"),
        said(10, "I found `src/cart.py`. Let me read `src/cart.py`:"),
        called(20, "Read", "/home/ann/shop/src/cart.py"),
        returned(21, 20),
        said(25, "Now src/prices.py."),
        called(30, "Read", "/home/ann/shop/src/prices.py"),
    ),
)


def test_the_learned_ranker_takes_the_place_of_the_rules_and_is_taught(request):
    models = load_models(request.config.rootpath / "models/workspace/models.npz")
    known = Known()
    replayed = replay_session(SEARCHED, models=models, known=known)
    assert (replayed.cold, replayed.cold_ready, replayed.statistics.failures) == (2, 2, 0)
    assert known.files.read == {"src/cart.py": 1, "src/prices.py": 1}
    assert replay_session(SESSION, models=models).cold_ready == 0  # where the rules find one mention enough


@pytest.mark.parametrize("sample", [AGENT_TRANSCRIPTS, CLAUDE_CODE, CODEX], ids=lambda sample: sample.format)
def test_every_format_of_an_agent_can_be_replayed(tmp_path, sample):
    (tmp_path / sample.file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / sample.file).write_text("".join(f"{one.rstrip()}\n" for one in sample.records))
    found = recordings([tmp_path / sample.file], ReadReport())
    assert {item.type for one in found for item in one.items} >= {"user_text", "assistant_text", "tool_call"}
    for one in found:
        assert replay_session(one).statistics.failures == 0


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(build(), ["workspace", *map(str, arguments)])


def test_the_replay_prints_sums_by_repository(tmp_path, run):
    path = tmp_path / AGENT_TRANSCRIPTS.file
    path.write_text("".join(f"{one.rstrip()}\n" for one in AGENT_TRANSCRIPTS.records))
    document = json.loads(run("replay", path, "--json").stdout)
    assert document["rows"][0]["repository"] == "all"
    assert document["rows"][0]["sessions"] == len(document["sessions"])
    assert "wasted" in run("replay", path).stdout


def test_a_history_without_words_is_refused(tmp_path, run):
    (tmp_path / "log.zsh_history").write_text(": 1700000000:0;git status\n")
    result = run("replay", tmp_path / "log.zsh_history", "--format", "zsh")
    assert result.exit_code != 0
    assert "agent-transcripts" in str(result.exception)


@pytest.fixture
def root(tmp_path):
    files = {
        "shop/__init__.py": "",
        "shop/cart.py": "from shop.prices import price\n\n\ndef total():\n    return price()\n",
        "shop/prices.py": "def price(): ...\n",
        "tests/test_cart.py": "from shop.cart import total\n\n\ndef test_total():\n    assert total()\n",
    }
    repository(tmp_path / "app", files)
    return tmp_path / "app"


def test_the_commands_show_what_is_known_of_a_workspace(root, run):
    assert "shop/cart.py" in run("index", root).stdout
    assert "shop/prices.py" in json.loads(run("index", root, "--json").stdout)["files"]
    assert json.loads(run("graph", root, "--json").stdout)["files"] == 4
    assert "shop/cart.py" in run("related", root, "shop/prices.py").stdout
    assert "tests/test_cart.py" in run("impact", root, "shop/prices.py").stdout
    meant = json.loads(run("impact", root, "shop/prices.py", "--json").stdout)
    assert [one["path"] for one in meant["dependents"]] == ["shop/cart.py", "tests/test_cart.py"]
