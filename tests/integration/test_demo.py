import subprocess
import sys
from pathlib import Path

import pytest

from preloader.cli import demo, main


@pytest.fixture
def run_demo(monkeypatch, capsys, tmp_path):
    """Run the demo in an empty folder and home, with a small household to fall back on."""
    monkeypatch.delenv("PRELOADER_DATASETS", raising=False)
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(demo, "_HOUSEHOLD", Path("household:seed=7,users=2,days=10"))
    monkeypatch.setattr(demo, "_FEWEST_ITEMS", 12)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", "demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


def commit_some(folder, days):
    """Make a repository in which three files take turns, several times a day."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for number in range(3 * days):
        (folder / f"file{number % 3}.py").write_text(str(number))
        date = f"2026-01-{1 + number // 3:02}T{9 + number % 3:02}:00:00Z"
        environment = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "PATH": "/usr/bin:/bin:/usr/local/bin"}
        subprocess.run(["git", "add", "."], cwd=folder, check=True)
        subprocess.run([*git, "commit", "-q", "-m", "turn"], cwd=folder, check=True, env=environment)


def test_without_any_history_it_takes_the_household_and_says_so(run_demo):
    code, out, _ = run_demo()
    assert code == 0
    assert "Using a simulated household" in out
    assert "clairvoyant" in out
    assert Path("out/demo.html").read_text().startswith("<!doctype html>")


def test_in_a_checkout_it_takes_the_git_history(run_demo, tmp_path):
    commit_some(tmp_path / "here", days=30)
    code, out, _ = run_demo("--report", tmp_path / "report.html")
    assert code == 0
    assert "Using the git history of here" in out
    assert (tmp_path / "report.html").exists()


def test_a_checkout_with_few_commits_is_passed_over_with_the_reason(run_demo, tmp_path):
    commit_some(tmp_path / "here", days=2)
    code, out, _ = run_demo()
    assert code == 0
    assert "Passed over: the git history of here" in out
    assert "Using a simulated household" in out


def test_mine_without_any_history_of_ones_own_is_a_mistake_that_is_told(run_demo):
    code, _, err = run_demo("--mine")
    assert code == 2
    assert "--mine: no transcripts" in err
    assert len(err.strip().splitlines()) == 1


def test_mine_takes_the_shell_history(run_demo, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    commands = ["git status", "git diff", "make test", "git commit"]
    lines = (f": {1_760_000_000 + 86_400 * (at // 40) + 30 * at}:0;{commands[at % 4]}\n" for at in range(1_200))
    (home / ".zsh_history").write_text("".join(lines))
    code, out, _ = run_demo("--mine")
    assert code == 0
    assert "Using your own zsh history: 1 file." in out
