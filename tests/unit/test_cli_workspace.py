"""What the command line says of a workspace, and of mistakes."""

import json
import sys

import pytest

from preloader.cli import main
from preloader.workspace.graph.store import FILE_NAME
from tests.unit.workspace_tree import repository, write

FILES = {
    "shop/money.py": "def euro():\n    return 1\n\n\ndef pound():\n    return 2\n",
    "shop/cart.py": "from shop.money import euro\n",
    "tests/test_pound.py": "from shop.money import pound\n",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    repository(tmp_path, FILES)

    def run(command, *arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", "workspace", command, str(tmp_path), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("spelling", ["shop/money.py", "./shop/money.py", "{root}/shop/money.py"])
def test_a_file_may_be_spelled_as_an_agent_does(run, tmp_path, spelling):
    _, related, _ = run("related", spelling.format(root=tmp_path), "--json")
    importers = [one["path"] for one in json.loads(related)["related"] if "importer" in str(one["reasons"])]
    assert importers == ["shop/cart.py"]
    _, impact, _ = run("impact", spelling.format(root=tmp_path), "--json")
    assert [one["path"] for one in json.loads(impact)["dependents"]] == ["shop/cart.py", "tests/test_pound.py"]


def test_what_is_not_committed(run, tmp_path):
    assert run("impact")[1] == "nothing is changed that git has not committed\n"
    write(tmp_path, {"shop/money.py": FILES["shop/money.py"].replace("2", "3")})
    assert run("impact")[1].splitlines() == [
        "depends on it: tests/test_pound.py (over shop/money.py)",
        "test to run: tests/test_pound.py (imports shop/money.py)",
    ]


def test_a_file_that_was_deleted_may_be_named(run, tmp_path):
    (tmp_path / "shop/money.py").unlink()
    assert "depends on it: shop/cart.py (over shop/money.py)" in run("impact", "shop/money.py")[1]


@pytest.mark.parametrize("root", ["/", "nope", "/proc/self"])
def test_a_root_that_is_none_is_a_sentence(monkeypatch, capsys, root):
    monkeypatch.setattr(sys, "argv", ["preloader", "workspace", "index", root])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith("preloader: root must be a ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("related", "nope.py"), "'nope.py' is none of the files of"),
        (("impact", "nope/money.py"), "'nope/money.py' is none of the files of"),
        (("impact", "shop"), "'shop' is none of the files of"),
        (("related", "../x.py"), "it goes up"),
        (("impact", "/etc/passwd"), "it leads out of the workspace"),
        (("related", ".env"), "may hold secrets"),
    ],
)
def test_a_mistake_is_a_sentence(run, arguments, reason):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1


def test_a_file_in_the_place_of_the_state_is_a_sentence(run, tmp_path):
    code, _, err = run("graph", "--state", str(tmp_path / "shop" / "cart.py"))
    assert code == 2
    assert "--state" in err
    assert "is a file" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("load_ms", ["-1", "inf", "1e9"])
def test_a_load_that_would_time_out_is_a_sentence(run, load_ms):
    code, _, err = run("replay", "--load-ms", load_ms)
    assert code == 2
    assert "'--load-ms'" in err


def test_a_graph_that_cannot_be_gone_on_with_is_said_to_be(run, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / FILE_NAME).write_text("no database, but as long as a header of one would have to be " * 4)
    code, said, complaint = run("graph", "--state", str(state))
    assert (code or 0, "files: " in said) == (0, True)
    assert complaint.startswith("preloader: ")
    assert FILE_NAME in complaint
