import sys

import msgspec
import pytest

from preloader import cli
from preloader.events import Event
from preloader.prediction import OnlinePredictor, save_bundle


def event(session, time_s, item=None, user="ann", text=None, **fields):
    resources = () if item is None else (f"skill:{item}",)
    action = "user" if item is None else "call"
    return Event(user=user, session=session, time_s=time_s, action=action, text=text, resources=resources, **fields)


def habits(user, sessions, start_s=0.0):
    """Whoever says 'weather' gets the forecast, whoever says 'song' the music."""
    for number in range(sessions):
        at_s = start_s + 1_000.0 * number
        said, item = (("what is the weather", "forecast"), ("play a song", "music"))[number % 2]
        yield event(f"{user}{number}", at_s, user=user, text=said)
        yield event(f"{user}{number}", at_s + 1, item, user=user)


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.jsonl"
    last = [event("last", 90_000.0, text="the weather please"), event("last", 90_001.0, "forecast")]
    events = [*habits("ann", 30), *habits("bob", 30, 500.0), *last]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, events)) + b"\n")
    return str(path)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run ``preloader explain``; returns its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", "explain", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def document(run):
    def document(*arguments):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return msgspec.json.decode(out)

    return document


def test_the_words_decide_and_the_evidence_says_so(document, history):
    said = document(history, "--at", 1, "--key", "forecast")
    assert said["point"]["came"] == ["skill:forecast"]
    likeliest = said["predictions"][0]
    assert likeliest["key"] == "skill:forecast"
    assert len(likeliest["per_step"]) == 3
    assert likeliest["per_step"][0] > 0.8
    assert likeliest["decision"]["tier"] in ("immediate", "delayed")
    assert likeliest["decision"]["reason"].startswith("P(")
    why = said["explanation"]
    assert why["key"] == "skill:forecast"
    assert why["prediction"]["per_step"] == likeliest["per_step"]
    assert said["rival"]["key"] == "skill:music"
    for_it, for_other = (
        {word["what"]: word["evidence"] for word in said[which]["words"]} for which in ("explanation", "rival")
    )
    assert for_it["weather"] > 0 > for_other["weather"]


def test_the_latest_session_and_its_end_are_the_default(document, history):
    point = document(history)["point"]
    assert (point["user"], point["session"], point["after"], point["came"]) == ("ann", "last", 2, [])


def test_nothing_after_the_point_is_learned(document, history):
    early = document(history, "--session", "ann0", "--at", 1)
    assert early["predictions"] == []
    later = document(history, "--session", "ann1", "--at", 1)
    # ann0 and bob0, both about the weather, are all that has happened
    assert [one["key"] for one in later["predictions"]] == ["skill:forecast"]


def test_a_user_can_be_named(document, history):
    assert document(history, "--user", "bob")["point"]["session"] == "bob29"


def test_the_tables_show_what_came_the_decision_and_the_words(run, history):
    code, out, err = run(history, "--at", 1, "--key", "skill:forecast")
    assert (code, err) == (0, "")
    assert "“the weather please”" in out
    assert "What did come: skill:forecast" in out
    assert "P(" in out
    assert "“weather” was said" in out
    assert max(map(len, out.splitlines())) <= 80


def test_an_unknown_key_has_nothing_that_speaks_for_it(run, history):
    code, out, _ = run(history, "--key", "alarm")
    assert code == 0
    assert "skill:alarm was never learned" in out


def test_a_bundle_is_asked_as_it_is(document, history, tmp_path):
    save_bundle(tmp_path / "empty", OnlinePredictor(kinds=("skill",)).snapshot())
    assert document(history, "--bundle", tmp_path / "empty")["predictions"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--user", "eve"), "--user 'eve' is not in the history; it has ann, bob"),
        (("--session", "x"), "--session 'x' is not in the history; it has ann0, ann1, ann2, ann3, ann4 and 56 more"),
        (("--at", "3"), "--at 3 is past the end of 'last', which has 2 events"),
        (("--target", "tool"), "choose from: skill"),
        (("--bundle", "/nowhere"), "/nowhere cannot be read"),
    ],
)
def test_mistakes_are_named_in_one_sentence(run, history, arguments, sentence):
    code, out, err = run(history, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_session_that_two_users_have_needs_its_user(run, tmp_path):
    path = tmp_path / "two.jsonl"
    events = [event("same", 1.0, "music", user=user) for user in ("ann", "bob")]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, events)))
    code, _, err = run(path, "--session", "same")
    assert code == 2
    assert "2 users have a session 'same'; name one with --user: ann, bob" in err
