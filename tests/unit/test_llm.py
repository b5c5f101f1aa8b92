"""The language-model port: its client against a real server over HTTP, and the expert that asks in the background."""

import asyncio
import random
import threading

import msgspec
import pytest

from preloader.errors import BundleError, LanguageModelError, LanguageModelTimeoutError
from preloader.events import Context, ContextTracker, Event
from preloader.prediction import OnlinePredictor
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.llm_expert import LlmExpert
from preloader.testing import FakeLanguageModel, Hang, random_events
from tests.unit.chat_server import completion, server


class Colour(msgspec.Struct, forbid_unknown_fields=True):
    name: str


def ask(url, timeout_s=10.0):
    pytest.importorskip("openai")
    from preloader.llm import OpenAIModel

    async def run():
        async with OpenAIModel("tiny", base_url=url, api_key="secret") as model:
            return await model.complete("Which colour?", Colour, timeout_s)

    return asyncio.run(run())


def test_an_answer_is_asked_for_by_its_schema_and_comes_typed():
    with server(lambda request: (200, completion('{"name": "red"}'))) as (url, log):
        assert ask(url) == Colour("red")
    (request,) = log
    assert request["path"] == "/v1/chat/completions"
    assert request["model"] == "tiny"
    assert request["messages"] == [{"role": "user", "content": "Which colour?"}]
    schema = request["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["type"] == "object"
    assert schema["schema"]["properties"]["name"]["type"] == "string"
    assert schema["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"{}", "status 500"),
        (429, b"{}", "status 429"),
        (401, b'{"error": {"message": "bad key"}}', "status 401"),
        (200, b"<html>", "tiny"),
        (200, b"{}", "no chat completion"),
        (200, b'{"choices": []}', "no chat completion"),
        (200, completion(None), "no text"),
        (200, completion("x" * 70_000), "too much"),
        (200, completion("red, I think"), "no Colour"),
        (200, completion('{"colour": "red"}'), "no Colour"),
        (200, completion('{"name": 7}'), "no Colour"),
        (200, completion("[" * 60_000), "no Colour"),
    ],
)
def test_faults_are_one_error_and_one_call(status, body, message):
    with (
        server(lambda request: (status, body)) as (url, log),
        pytest.raises(LanguageModelError, match=message) as caught,
    ):
        ask(url)
    assert len(log) == 1
    assert "secret" not in str(caught.value)


def test_a_slow_server_is_given_up():
    release = threading.Event()

    def wait(request):
        release.wait(30)
        return 200, completion('{"name": "late"}')

    with server(wait) as (url, log):
        try:
            with pytest.raises(LanguageModelTimeoutError, match=r"0\.2 s"):
                ask(url, timeout_s=0.2)
        finally:
            release.set()
    assert len(log) == 1


def test_a_server_that_is_not_there_is_an_error():
    with pytest.raises(LanguageModelError, match="could not be asked"):
        ask("http://127.0.0.1:9/v1")


def test_without_an_address_a_key_is_needed(monkeypatch):
    pytest.importorskip("openai")
    from preloader.llm import OpenAIModel

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LanguageModelError, match="OPENAI_API_KEY"):
        OpenAIModel("tiny")


def event(number, *keys, **fields):
    return Event(user="u", time_s=float(number), action="go", resources=keys, **{"session": "s", **fields})


def after(*events):
    tracker = ContextTracker()
    for one in events:
        context = tracker.observe(one)
    return context


def settle(rounds=5):
    return asyncio.wait_for(_rounds(rounds), 5)


async def _rounds(rounds):
    for _ in range(rounds):
        await asyncio.sleep(0)


def test_it_abstains_until_the_answer_has_come_and_then_says_it_of_that_context_alone():
    events = [event(0, "k:a", text="first a"), event(1, "k:b")]

    async def run():
        model = FakeLanguageModel([{"guesses": []}, {"guesses": [{"number": 2, "probability": 0.7}]}])
        async with LlmExpert(model, "k") as expert:
            expert.learn_one(events[0])
            await settle()
            expert.learn_one(events[1])
            assert expert.predict(after(*events)) == []
            await settle()
            (said,) = expert.predict(after(*events))
            assert expert.predict(after(events[0])) == []
            assert expert.distribution(after(*events), "other", 3).index == {}
        return model.prompts, said

    prompts, said = asyncio.run(run())
    assert (said.key, said.per_step) == ("k:a", (0.7, 0.0, 0.0))  # the second latest of the candidates
    assert "1. k:b\n2. k:a" in prompts[1]
    assert "first a" in prompts[1]


def test_words_between_two_uses_are_asked_about_and_cancel_what_was_asked_before():
    events = [event(0, "k:a"), event(1, text="now b"), event(2, context={"room": "hall"})]

    async def run():
        model = FakeLanguageModel([Hang(), {"guesses": [{"number": 1, "probability": 0.7}]}, Hang(), Hang()])
        async with LlmExpert(model, "k") as expert:
            silent = event(9, text="nothing can be named yet", session="other")
            expert.learn_one(silent)
            expert.learn_one(events[0])
            await settle()
            expert.learn_one(events[1])
            await settle()
            (said,) = expert.predict(after(*events[:2]))
            expert.learn_one(event(3, "k:a", session="other"))
            await settle()
            expert.learn_one(events[2])  # neither a use nor words: nothing is asked, and the other session's goes on
            await settle()
            under_way = len(asyncio.all_tasks()) - 1
            expert.learn_one(event(4, session="other"))
            await settle()
            return model.prompts, said, under_way, len(asyncio.all_tasks()) - 1, expert.counts

    prompts, said, *tasks, counts = asyncio.run(run())
    assert (said.key, said.per_step[0]) == ("k:a", 0.7)
    assert "now b" in prompts[1]
    assert len(prompts) == 3
    assert tasks == [1, 0]
    assert counts == {"questions": 3, "answers": 1, "superseded": 2}


def test_the_model_can_only_weigh_what_it_was_shown():
    guesses = [{"number": 9, "probability": 1.0}, {"number": 1, "probability": 0.9}, {"number": 2, "probability": 0.9}]

    async def run():
        async with LlmExpert(FakeLanguageModel([{"guesses": []}, {"guesses": guesses}]), "k") as expert:
            expert.learn_one(event(0, "k:a"))
            await settle()
            expert.learn_one(event(1, "k:b"))
            await settle()
            return expert.predict(after(event(0, "k:a"), event(1, "k:b")))

    assert {one.key: one.per_step[0] for one in asyncio.run(run())} == {"k:a": 0.5, "k:b": 0.5}


def test_the_budget_and_failures_keep_it_from_asking():
    async def run():
        within = LlmExpert(FakeLanguageModel([{"guesses": []}] * 9), "k", calls_per_minute=3)
        failing = LlmExpert(FakeLanguageModel([LanguageModelError("no"), RuntimeError("bug")]), "k")
        async with within, failing:
            for number in range(5):
                for expert in (within, failing):
                    expert.learn_one(event(number, "k:a"))
                    await settle()
        return within.counts, failing.counts

    within, failing = asyncio.run(run())
    assert within == {"questions": 3, "answers": 3, "forbidden": 2}
    assert failing == {"questions": 1, "failures": 1, "forbidden": 4}


def test_leaving_cancels_what_is_under_way_and_outside_nothing_is_asked():
    async def run():
        model = FakeLanguageModel([Hang()])
        expert = LlmExpert(model, "k")
        expert.learn_one(event(0, "k:a"))
        async with expert:
            expert.learn_one(event(1, "k:a"))
            await settle()
        expert.learn_one(event(2, "k:a"))
        await settle()
        return len(model.prompts), len(asyncio.all_tasks())

    assert asyncio.run(run()) == (1, 1)


def test_its_state_is_restored_and_damage_refused():
    expert, other = LlmExpert(FakeLanguageModel([]), "component"), LlmExpert(FakeLanguageModel([]), "component")
    for one in random_events(1):
        expert.learn_one(one)
    other.restore(expert.snapshot())
    assert msgspec.to_builtins(other.snapshot().meta) == msgspec.to_builtins(expert.snapshot().meta)
    for field in expert.snapshot().meta:
        damaged = expert.snapshot()
        damaged.meta[field] = 3
        with pytest.raises(BundleError):
            other.restore(damaged)


def test_in_a_mixture_it_is_heard_when_it_speaks():
    """It knows what comes, which nobody could learn: keys are drawn at random."""
    rng = random.Random(5)
    keys = [f"k:{number}" for number in range(6)] + [f"k:{rng.randrange(6)}" for _ in range(100)]

    def number_of(at):
        latest_first = list(dict.fromkeys(reversed(keys[: at + 1])))
        return latest_first.index(keys[at + 1]) + 1 if keys[at + 1] in latest_first else 1

    answers = [{"guesses": [{"number": number_of(at), "probability": 0.95}]} for at in range(len(keys) - 1)]

    async def run():
        async with LlmExpert(FakeLanguageModel(answers), "k", calls_per_minute=1_000) as expert:
            mixture, context = MixturePredictor([OnlinePredictor(["k"]), expert], ["k"]), Context("u", "s")
            for number, key in enumerate(keys[:-1]):
                mixture.learn_one(event(number, key))
                context = context.after(event(number, key))
                unheard = mixture.predict(context)
                await settle()
            return unheard[0].per_step, mixture.predict(context)[0]

    unheard, heard = asyncio.run(run())
    assert unheard[0] < 0.5
    assert heard.key == keys[-1]
    assert heard.per_step[0] > 0.9
    assert max(heard.per_step[1:]) < 0.5  # of which it said nothing


def test_whoever_waits_for_an_answer_is_told_once_it_can_be_predicted_with(caplog):
    async def run():
        model, told = FakeLanguageModel([{"guesses": [{"number": 1, "probability": 0.6}]}] * 2), []

        def on_answer(context):
            told.append(expert.predict(context)[0].per_step[0])
            raise RuntimeError("bug of the listener")

        async with LlmExpert(model, "k", on_answer=on_answer) as expert:
            for number in range(2):
                expert.learn_one(event(number, "k:a"))
                await settle()
        return told, expert.counts

    told, counts = asyncio.run(run())
    assert told == [0.6, 0.6]
    assert counts == {"questions": 2, "answers": 2}
    assert "bug of the listener" in caplog.text


def test_it_can_be_asked_and_waited_for_without_a_budget():
    async def run():
        model = FakeLanguageModel([{"guesses": [{"number": 2, "probability": 0.6}]}, LanguageModelError("no")])
        expert = LlmExpert(model, "k", calls_per_minute=1)
        contexts = [expert.note(event(number, f"k:{number}")) for number in range(2)]
        await expert.ask(contexts[1])
        with pytest.raises(LanguageModelError):
            await expert.ask(contexts[0])
        return expert.predict(contexts[1])

    (said,) = asyncio.run(run())
    assert (said.key, said.per_step[0]) == ("k:0", 0.6)
