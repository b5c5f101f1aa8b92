"""Advice of a language model: when it is asked, and what comes of it."""

import asyncio
import random

import msgspec
import pytest

from preloader.errors import ConfigurationError, LanguageModelAnswerError, LanguageModelError
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.testing import FakeLanguageModel, Hang
from preloader.workspace.advice.adviser import Adviser
from preloader.workspace.advice.discretion import Discretion
from preloader.workspace.advice.limits import AskingBudget, CircuitBreaker
from preloader.workspace.advice.record import HORIZON, AdviceRecord, OpenAdvice
from preloader.workspace.advice.settings import Advice
from preloader.workspace.learn.items import Item
from preloader.workspace.path_table import PathTable
from preloader.workspace.paths import Confined
from preloader.workspace.resolve import Resolver
from tests.unit.advice_scene import CART, INDEX, NOTHING, providers_of


@pytest.fixture
def providers(tmp_path):
    return providers_of(tmp_path)


# When it is asked.


def test_the_budget_bounds_calls_of_any_minute_and_tokens():
    budget = AskingBudget(2, 1_000)
    assert [budget.take(at, 100) for at in (0.0, 10.0, 59.0, 60.0, 61.0, 70.0)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]
    assert not budget.take(200.0, 601)
    assert budget.take(200.0, 600)
    assert not budget.allows(1_000.0)
    budget.give_back(50)
    assert budget.take(1_000.0, 50)
    assert budget.spent == 1_000


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_call_decide():
    breaker = CircuitBreaker(failures=2, pause_s=10.0, most_pause_s=30.0)
    assert breaker.failed(0.0) == 0.0
    breaker.succeeded()
    assert [breaker.failed(0.0), breaker.failed(0.0)] == [0.0, 10.0]
    assert (breaker.allows(9.9), breaker.allows(10.0)) == (False, True)
    assert [breaker.failed(10.0), breaker.failed(30.0), breaker.failed(90.0)] == [20.0, 30.0, 30.0]
    breaker.succeeded()
    assert breaker.failed(200.0) == 0.0


class Scene:
    """An adviser over a model that answers as told, and what it passed on."""

    def __init__(self, providers, *answers, **options):
        self.model = FakeLanguageModel(answers)
        self.expected = []
        self.adviser = Adviser(
            Advice(model=self.model, **options),
            providers,
            Resolver(PathTable(INDEX)),
            self.expected.append,
            InlineExecutor(),
        )

    def run(self, script):
        async def main():
            async with self.adviser:
                await script(self.adviser)
            assert len(asyncio.all_tasks()) == 1
            return self.adviser.statistics()

        return run_virtual(main())


def said(text):
    return Item("assistant_text", text=text)


def counted(statistics, **expected):
    told = msgspec.structs.asdict(statistics)
    assert {name: told[name] for name in expected} == expected


async def answered():
    await asyncio.sleep(0.001)


def test_advice_becomes_an_expectation_and_its_outcome_is_counted(providers):
    files = [{"path": "src/cart.py", "probability": 0.8}, {"path": "README.md", "probability": 0.3}]
    scene = Scene(providers, {"files": files, "calls": []})

    async def script(adviser):
        adviser.hear(said("Now the cart."))
        await answered()
        adviser.used("file:src/cart.py")
        for _ in range(HORIZON + 1):
            adviser.step()
        adviser.used("file:README.md")  # too late

    statistics = scene.run(script)
    assert [(one.key, one.probability) for one in scene.expected] == [
        ("file:src/cart.py", pytest.approx(0.8)),
        ("file:README.md", pytest.approx(0.3)),
    ]
    counted(statistics, asked=1, answered=1, accepted=2, refused=0, used=1, unused=1, late=0)


def test_one_question_is_under_way_and_the_latest_moment_waits(providers):
    scene = Scene(providers, Hang(), CART, timeout_s=5.0)

    async def script(adviser):
        for number in range(5):
            adviser.hear(said(f"moment {number}"))
            await answered()
        assert len(scene.model.prompts) == 1
        await asyncio.sleep(5.0)
        assert len(scene.model.prompts) == 2

    counted(scene.run(script), asked=2, late=1, replaced=3, answered=1)
    assert "moment 4" in scene.model.prompts[1]


def test_the_agents_call_comes_before_the_answer(providers):
    scene = Scene(providers, Hang(), CART)

    async def script(adviser):
        adviser.hear(said("first"))
        await answered()
        adviser.hear(said("second"))
        adviser.step()
        await answered()
        assert len(asyncio.all_tasks()) == 1
        assert len(scene.model.prompts) == 1
        adviser.hear(said("third"))
        await answered()

    counted(scene.run(script), asked=2, late=1, answered=1, cancelled=0)


def test_a_new_query_and_the_end_cancel_and_nothing_of_the_last_query_is_shown(providers):
    scene = Scene(providers, CART, Hang(), Hang())

    async def script(adviser):
        adviser.hear(said("of the first query"))
        await answered()
        adviser.hear(said("still of the first query"))
        await answered()
        adviser.forget()
        for _ in range(HORIZON + 1):
            adviser.step()
        await answered()
        adviser.hear(said("of the second"))
        await answered()

    counted(scene.run(script), asked=3, answered=1, cancelled=2, used=0, unused=0)
    assert "first query" not in scene.model.prompts[2]


def test_a_model_that_ignores_its_cancellation_does_not_hold_up_the_end(providers, caplog):
    class Stubborn:
        ended = False

        async def complete(self, prompt, answer, timeout_s):
            try:
                await asyncio.sleep(timeout_s)
            except asyncio.CancelledError:
                await asyncio.sleep(3_600.0)
                self.ended = True
            return msgspec.convert(CART, answer)

    scene, stubborn = Scene(providers), Stubborn()
    scene.adviser = Adviser(
        Advice(model=stubborn), providers, Resolver(PathTable(INDEX)), scene.expected.append, InlineExecutor()
    )

    async def main():
        async with scene.adviser as adviser:
            adviser.hear(said("x"))
            await answered()
        assert not stubborn.ended
        await asyncio.sleep(4_000.0)
        return len(asyncio.all_tasks())

    assert run_virtual(main()) == 1
    assert "left behind" in caplog.text
    assert scene.expected == []
    counted(scene.adviser.statistics(), cancelled=1, answered=0, failed=0)


def test_a_call_that_has_begun_is_not_asked_about(providers):
    scene = Scene(providers)

    async def script(adviser):
        adviser.hear(said("words before a call"), ask=False)
        adviser.hear(Item("tool_call", tool="Read"))
        await answered()

    counted(scene.run(script), asked=0)


def test_after_failures_in_a_row_it_is_silent_and_then_tries_once(providers):
    errors = [LanguageModelError("no"), LanguageModelAnswerError("what"), RuntimeError("bug")]
    scene = Scene(providers, *errors, CART)

    async def script(adviser):
        for _ in range(6):
            adviser.hear(said("x"))
            await answered()
        assert len(scene.model.prompts) == 3
        await asyncio.sleep(30.0)
        adviser.hear(said("x"))
        await answered()

    counted(scene.run(script), asked=4, failed=2, invalid=1, silenced=3, answered=1)


def test_a_model_that_is_slower_than_the_agent_is_asked_less(providers):
    scene = Scene(providers, *[Hang()] * 9, CART, *[Hang()] * 10, CART, calls_per_minute=1_000)

    async def script(adviser):
        for at in range(22):
            adviser.hear(said("x"))
            await answered()
            if at in (9, 20):
                assert scene.expected  # it was in time
                scene.expected.clear()
            adviser.step()
            await answered()
            if at == 19:
                adviser.hear(said("too soon"))
                await asyncio.sleep(30.0)

    counted(scene.run(script), late=20, answered=2, silenced=1)


def test_the_budget_forbids_and_unanswered_questions_stay_spent(providers):
    by_rate = Scene(providers, *[NOTHING] * 9, calls_per_minute=3)
    by_tokens = Scene(providers, *[NOTHING] * 9, tokens_per_session=2_500, answer_tokens=1_000)
    unanswered = Scene(providers, *[LanguageModelError("no")] * 9, tokens_per_session=2_500, answer_tokens=1_000)

    async def script(adviser):
        for _ in range(5):
            adviser.hear(said("x"))
            await answered()

    counted(by_rate.run(script), asked=3, forbidden=2)
    statistics = by_tokens.run(script)
    assert 2 <= statistics.asked < 5  # what was set aside for answers and not needed is given back
    assert statistics.asked + statistics.forbidden == 5
    assert statistics.tokens <= 2_500
    counted(unanswered.run(script), asked=1, forbidden=4)


@pytest.mark.parametrize(("field", "value"), [("timeout_s", 0), ("calls_per_minute", 0), ("characters", "many")])
def test_wrong_settings_are_refused_by_name(field, value):
    with pytest.raises(ConfigurationError, match=field):
        Advice(model=FakeLanguageModel([]), **{field: value})


# What comes of it.


def test_stated_probabilities_are_corrected_by_what_came_of_them():
    record, random_ = AdviceRecord(), random.Random(3)
    assert record.corrected("file", 0.6) == 0.6
    assert record.corrected("file", 1.0) == 0.95
    for _ in range(400):
        record.learn("file", 1.0, came=random_.random() < 0.3)  # surer than it should be
        record.learn("grep", 0.2, came=random_.random() < 0.6)
    assert record.corrected("file", 1.0) == pytest.approx(0.3, abs=0.1)
    assert record.corrected("grep", 0.2) == pytest.approx(0.6, abs=0.1)
    assert record.corrected("Read", 0.6) == 0.6


def test_advice_that_never_comes_true_is_passed_on_no_more_and_can_be_trusted_again(providers):
    record = AdviceRecord()
    scene = Scene(providers, *[CART] * 500, calls_per_minute=10_000, tokens_per_session=10**9, record=record)

    async def script(adviser):
        for _ in range(60):
            adviser.hear(said("x"))
            await answered()
            for _ in range(HORIZON + 1):
                adviser.step()
        scene.expected.clear()
        adviser.hear(said("x"))
        await answered()
        assert scene.expected == []
        for _ in range(60):
            adviser.used("file:src/cart.py")
            adviser.hear(said("x"))
            await answered()

    scene.run(script)
    assert scene.expected[-1].probability > 0.5


def test_an_outcome_is_learned_once_and_not_after_the_query():
    learned = []

    class Spy(AdviceRecord):
        def learn(self, sort, stated, came):
            learned.append((sort, stated, came))

    advised = OpenAdvice(Spy())
    advised.add("file:a", "file", 0.4)
    advised.add("file:a", "file", 0.7)
    assert advised.use("file:a")
    assert not advised.use("file:a")
    advised.add("file:b", "file", 0.5)
    advised.forget()
    assert sum(advised.step() for _ in range(20)) == 0
    assert learned == [("file", 0.7, True)]


def test_its_memory_is_bounded():
    advised = OpenAdvice(AdviceRecord())
    for number in range(10_000):
        advised.add(f"file:{number}", "file", 0.4)
    assert sum(advised.step() for _ in range(HORIZON + 1)) == 256


def test_discretion_takes_long_and_odd_texts(tmp_path):
    discretion = Discretion(Confined(tmp_path))
    for text in (
        "",
        "\n" * 65_000,
        "a" * 65_000,
        "/" * 65_000,
        "..../" * 13_000,
        "@" * 65_000,
        "\ud800.env",
        "=" * 65_000,
    ):
        discretion.output(text, 900)
        discretion.words(text, 900)
        discretion.speaks_of_secrets({"x": [text, {"y": text}], "z": 1})
