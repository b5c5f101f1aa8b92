"""How the command line ends: a mistake is one sentence and 2, whoever finds it."""

import sys

import pytest

from preloader.cli import COMMANDS, main


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["preloader", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bogus"], "preloader: No such command 'bogus'.\n"),
        (
            ["evaluate", "--steps", "0", "."],
            "preloader: Invalid value for '--steps': Input should be greater than or equal to 1\n",
        ),
        (["replay", "--nope", "."], "preloader: No such option: --nope\n"),
        (["history", "inspect", "no-such-file"], "preloader: no-such-file: no such file or directory\n"),
    ],
)
def test_a_mistake_is_one_sentence_and_2(monkeypatch, capsys, arguments, sentence):
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert (code, err) == (2, sentence)


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("preloader.cli.history.summarize", interrupted)
    code, _, err = run(monkeypatch, capsys, "history", "inspect", "household:seed=1,days=2")
    assert (code, err) == (130, "preloader: interrupted\n")


def test_ctrl_c_while_the_commands_are_imported_ends_with_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("preloader.cli.build", interrupted)
    code, _, err = run(monkeypatch, capsys, "history")
    assert (code, err) == (130, "preloader: interrupted\n")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_teaches(monkeypatch, capsys, command):
    code, out, _ = run(monkeypatch, capsys, *([command] if command else []), "--help")
    assert code in (0, None)
    assert "Usage: preloader" in out
