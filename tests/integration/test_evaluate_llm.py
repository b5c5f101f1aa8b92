"""A language model under ``preloader evaluate``, asked over HTTP by its real client."""

import json
import random
import re
import sys
import threading

import msgspec
import pytest

pytest.importorskip("openai")

from preloader import cli
from preloader.events import Event
from tests.unit.chat_server import completion, server

DRAWN = random.Random(1).choices("abcd", k=20 * 9)


def write(path, sessions):
    """Sessions of items drawn at random: what comes next can be known of their places alone, which the words tell."""
    events = [
        Event(
            user="ann",
            session=f"s{number}",
            time_s=1_000.0 * number + position,
            action="use",
            text=f"place{number * 8 + position}",
            resources=(f"tool:{DRAWN[number * 8 + position]}",),
        )
        for number in range(sessions)
        for position in range(8)
    ]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, events)) + b"\n")
    return str(path)


def clever(request):
    """Know what was drawn."""
    prompt = request["messages"][0]["content"]
    following = DRAWN[int(re.findall(r"place(\d+)", prompt)[-1]) + 1]
    (number,) = re.findall(rf"^(\d+)\. tool:{following}$", prompt, re.MULTILINE)
    return 200, completion(json.dumps({"guesses": [{"number": int(number), "probability": 0.95}]}))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    history = write(tmp_path / "history.jsonl", 20)

    def run(*arguments):
        words = ["preloader", "evaluate", history, "--steps", "1", "--bootstraps", "10", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_model_is_scored_alone_and_mixed_and_asked_each_question_once(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with server(clever) as (url, log):
        code, out, _ = run("--llm-url", url, "--llm-model", "tiny", "--json")
    assert code == 0
    document = json.loads(out)
    rows = {(row["predictor"], row["learn"]): row for row in document["rows"]}
    begun = 7 / 8  # of a session's first item nothing is known
    for learn in ("frozen", "online"):
        assert rows["llm", learn]["top1"] == begun
        assert rows["online+llm", learn]["top1"] > rows["online", learn]["top1"] + 0.1
        assert rows["online+llm", learn]["log_loss"] < rows["online", learn]["log_loss"]
    assert document["protocol"]["llm"] == {
        "model": "tiny",
        "url": url,
        "timeout_s": 20.0,
        "questions": len(log),
        "failures": 0,
    }
    prompts = [request["messages"][0]["content"] for request in log]
    assert len(set(prompts)) == len(prompts) == 4 * 7
    assert "secret" not in out
    assert {request["model"] for request in log} == {"tiny"}


def test_the_table_has_the_model_and_what_it_was_asked_is_said(run):
    with server(clever) as (url, _):
        code, out, err = run("--llm-url", url, "--llm-model", "tiny", "--predictor", "llm", "--learn", "frozen")
    assert code == 0
    assert re.search(r"^ ?llm +\.875", out, re.MULTILINE)
    assert err == "tiny answered 28 of 28 questions.\n"


def test_single_failures_are_survived_and_counted(run):
    count = iter(range(1_000))

    def moody(request):
        return clever(request) if next(count) % 3 != 1 else (500, b"{}")

    with server(moody) as (url, _):
        code, out, _ = run("--llm-url", url, "--llm-model", "tiny", "--predictor", "llm", "--json")
    assert code == 0
    assert json.loads(out)["protocol"]["llm"]["failures"] == 9  # of 28: frozen and online put the same questions
    assert 0.4 < json.loads(out)["rows"][0]["top1"] < 7 / 8


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((500, b"{}"), "the server of tiny answered with status 500; it is not asked again after 1 failures in a row"),
        ((200, completion("b, I think")), "the answer of tiny is no Guesses"),
    ],
)
def test_a_model_that_fails_at_once_is_one_sentence(run, answer, sentence):
    with server(lambda request: answer) as (url, log):
        code, out, err = run("--llm-url", url, "--llm-model", "tiny", "--predictor", "llm")
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert len(log) == 1


def test_a_model_that_breaks_down_is_given_up_after_three_failures(run):
    count = iter(range(1_000))
    with server(lambda request: clever(request) if next(count) < 5 else (503, b"{}")) as (url, log):
        code, _, err = run("--llm-url", url, "--llm-model", "tiny", "--predictor", "llm")
    assert code == 2
    assert "status 503; it is not asked again after 3 failures in a row" in err
    assert len(log) == 8


def test_an_address_without_a_model_and_a_service_without_a_key_are_refused(run, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "--llm-url http://x/v1 needs --llm-model" in run("--llm-url", "http://x/v1")[2]
    code, out, err = run("--llm-model", "some")
    assert (code, out) == (2, "")
    assert "set OPENAI_API_KEY" in err


def test_a_server_that_is_slow_is_given_up_in_time(run):
    release = threading.Event()
    with server(lambda request: (release.wait(20), (200, completion("{}")))[1]) as (url, _):
        try:
            code, _, err = run("--llm-url", url, "--llm-model", "tiny", "--predictor", "llm", "--llm-timeout-s", 0.2)
        finally:
            release.set()
    assert code == 2
    assert "tiny did not answer within 0.2 s" in err
