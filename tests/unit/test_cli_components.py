"""``preloader components``: what it says of a registry, and in JSON."""

import json
import sys
from pathlib import Path

import pytest

import preloader.cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "components.toml"


def run(capsys, monkeypatch, *arguments):
    """Run the command line; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["preloader", "components", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        preloader.cli.main()
    printed = capsys.readouterr()
    return ended.value.code, printed.out + printed.err


def test_check_says_what_there_is(capsys, monkeypatch):
    code, said = run(capsys, monkeypatch, "check", EXAMPLE)
    assert not code
    assert "is in order: 5 components in 3 stages, 1 conflict, 1,480 MB, 0.67 s one after the other." in said


def test_check_shows_a_circle(tmp_path, capsys, monkeypatch):
    path = tmp_path / "c.toml"
    path.write_text(
        "".join(f"[components.{a}]\nloader='simulated'\nbytes=1\nload_s=1\nrequires=['{b}']\n" for a, b in ("xy", "yx"))
    )
    code, said = run(capsys, monkeypatch, "check", path)
    assert code == 2
    assert f"{path}:5, field 'components.x.requires[0]': components require each other in a circle: x → y → x" in said


def test_plan_in_json_has_order_stages_and_figures(capsys, monkeypatch):
    code, said = run(capsys, monkeypatch, "plan", EXAMPLE, "assistant", "--workers", 2, "--json")
    plan = json.loads(said)
    assert not code
    assert plan["stages"] == [["audio_base"], ["asr", "tts"], ["assistant"]]
    assert [load["name"] for load in plan["loads"]] == ["audio_base", "asr", "tts", "assistant"]
    assert plan["critical_path"] == ["audio_base", "asr", "assistant"]
    assert plan["makespan_s"] == plan["critical_path_s"] == plan["bound_s"] == pytest.approx(0.17)
    assert plan["total_s"] == pytest.approx(0.27)
    assert plan["conflicts"] == []


def test_plan_in_words(capsys, monkeypatch):
    code, said = run(capsys, monkeypatch, "plan", EXAMPLE, "--workers", 1)
    assert not code
    assert "0.67 s with 1 worker; 0.67 s one after the other. No schedule is shorter than 0.67 s." in said
    assert "Not all of it can be there at once: these conflict: tts and tts_large." in said
    assert "It hangs on audio_base → tts_large: 0.43 s." in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["plan", EXAMPLE, "asrr"], "there is no component 'asrr'; did you mean 'asr'?"),
        (["plan", EXAMPLE, "--workers", "0"], "workers must be a whole number of at least 1, not 0"),
        (["check", "absent.toml"], "absent.toml cannot be read: No such file or directory"),
    ],
)
def test_mistakes_end_in_one_sentence(capsys, monkeypatch, arguments, reason):
    code, said = run(capsys, monkeypatch, *arguments)
    assert code == 2
    assert reason in said
