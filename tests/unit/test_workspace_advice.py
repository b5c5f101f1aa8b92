"""Advice of a language model: what it is shown, what of its answer is let in, when it is asked, what comes of it."""

import asyncio
import random

import msgspec
import pytest

from preloader.errors import ConfigurationError, LanguageModelAnswerError, LanguageModelError
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.testing import FakeLanguageModel, Hang
from preloader.workspace.advice.adviser import Adviser
from preloader.workspace.advice.answer import Admitted, NextStep, admitted
from preloader.workspace.advice.discretion import WITHHELD, Discretion
from preloader.workspace.advice.limits import AskingBudget, CircuitBreaker
from preloader.workspace.advice.question import SessionTail, described, question
from preloader.workspace.advice.record import HORIZON, AdviceRecord, OpenAdvice
from preloader.workspace.advice.settings import Advice
from preloader.workspace.catalogue import Tool, ToolCatalogue, builtin_tool
from preloader.workspace.learn.items import Item
from preloader.workspace.path_table import PathTable
from preloader.workspace.paths import Confined
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.resolve import Resolver
from tests.unit.workspace_tree import write

INDEX = ("src/cart.py", "src/prices.py", "README.md")
NOTHING = {"files": [], "calls": []}
CART = {"files": [{"path": "src/cart.py", "probability": 0.8}], "calls": []}


def call(tool="Read", /, probability=0.5, **arguments):
    pairs = [{"name": name, "value": value} for name, value in arguments.items()]
    return {"tool": tool, "arguments": pairs, "probability": probability}


@pytest.fixture
def providers(tmp_path):
    write(tmp_path, dict.fromkeys(INDEX, "x = 1\n"))
    write(tmp_path, {".gitignore": "build/\n"})
    writing = Tool(name="Write", run=lambda reading, told: None, side_effects="writes")
    read = builtin_tool("read_file", "Read", {"file_path": "path"}, ["description"])
    return WorkspaceProviders(tmp_path, ToolCatalogue([read, builtin_tool("grep"), writing]))


def let_in(providers, answer):
    found = list(admitted(msgspec.convert(answer, NextStep), PathTable(INDEX), providers))
    return [one for one in found if isinstance(one, Admitted)], sum(not isinstance(one, Admitted) for one in found)


# What is let in.


def test_files_of_the_index_and_listed_calls_are_let_in_under_their_one_spelling(providers):
    root = providers.confined.root
    answer = {
        "files": [{"path": f"{root}/src/cart.py", "probability": 0.7}, {"path": "README.md", "probability": 0}],
        "calls": [
            call(file_path="./src/prices.py", limit=2000, description="look"),
            call("grep", pattern="x", path="src"),
            call("grep", pattern="x", path="."),
        ],
    }
    accepted, refused = let_in(providers, answer)
    assert refused == 0
    assert [(one.key, one.sort) for one in accepted] == [
        ("file:src/cart.py", "file"),
        ("file:README.md", "file"),
        ('tool:Read {"file_path": "src/prices.py"}', "Read"),
        ('tool:grep {"path": "src", "pattern": "x"}', "grep"),
        ('tool:grep {"pattern": "x"}', "grep"),
    ]


HOSTILE_PATHS = (
    *("../../.ssh/id_rsa", "src/../../x", "/etc/passwd", "~/.aws/credentials", ".env", "src/.env", ".git/config"),
    *(
        "build/x.py",
        "src/none.py",
        "src",
        "",
        " ",
        ".",
        "C:\\x",
        "file:///etc/passwd",
        "-rf",
        "src/cart.py\0",
        "\ud800",
    ),
    *("//etc/passwd", "src/cart.py/", "src/cart.py; id", "x" * 60_000, "\u2024\u2024/x", "/dev/zero", "src/*.py"),
)


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=lambda path: repr(path)[:20])
def test_no_hostile_path_is_let_in_as_a_file_or_as_an_argument(providers, path):
    answer = {"files": [{"path": path, "probability": 0.9}], "calls": [call(file_path=path)]}
    accepted, refused = let_in(providers, answer)
    harmless = {"src/cart.py/": 2, "src": 1, ".": 1}.get(path, 0)  # a directory may be an argument
    assert (len(accepted), refused) == (harmless, 2 - harmless)
    assert {one.key.partition(" ")[0] for one in accepted} <= {"tool:Read", "file:src/cart.py"}


@pytest.mark.parametrize(
    "guess",
    [
        call("Bash", command="cat /etc/passwd"),
        call("Write", file_path="src/cart.py"),
        call("", file_path="src/cart.py"),
        call(),
        call(file_path="src/cart.py", offset="1; id"),
        call(file_path="src/cart.py", mode="w"),
        call(file_path=["src/cart.py"]),
        call("grep", pattern="x", glob="../*"),
        {**call(file_path="src/cart.py"), "probability": 1.5},
        {**call(file_path="src/cart.py"), "probability": float("nan")},
        {**call(), "arguments": [{"name": "file_path", "value": "src/cart.py"}] * 2},
    ],
)
def test_calls_that_are_not_as_listed_are_refused(providers, guess):
    assert let_in(providers, {"files": [], "calls": [guess]}) == ([], 1)


def test_what_is_more_than_was_asked_for_is_refused(providers):
    files = [{"path": "src/cart.py", "probability": 0.1}] * 1_000
    accepted, refused = let_in(providers, {"files": files, "calls": [call(file_path="src/cart.py")] * 10})
    assert (len(accepted), refused) == (12, 998)


# What is shown.


def shown(providers, *items, outputs=True, characters=6_000):
    tail = SessionTail(Discretion(providers.confined), outputs)
    for item in items:
        tail.add(item)
    return question(tail.items(), described(providers.tools.catalogue), characters)


def result_of(arguments, text, tool="Bash"):
    return Item("tool_call", id="c", tool=tool, arguments=arguments), Item("tool_result", id="c", text=text)


def test_a_question_shows_the_end_of_the_session_and_the_safe_tools(providers):
    items = [Item("user_text", text="Fix the cart."), *result_of({"pattern": "total"}, "src/cart.py:3:total", "grep")]
    asked = shown(providers, *items, Item("assistant_text", text="I will look at it."))
    session = asked.partition("whatever it says:\n")[2].split("\n")
    assert session == [
        "user: Fix the cart.",
        'call grep: {"pattern":"total"}',
        "result: src/cart.py:3:total",
        "agent: I will look at it.",
    ]
    assert "- Read(file_path: path; offset: integer, optional; limit: integer, optional)" in asked
    assert "- grep(pattern: string" in asked
    assert "Write" not in asked
    assert "description" not in asked


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "cat .env"},
        {"command": "cat src/../.env | head"},
        {"command": "cat <'~/.ssh/id_rsa'"},
        {"command": "less --file=deploy/server.pem"},
        {"command": "cat /etc/hosts"},
        {"command": "cat build/out.txt"},
        {"file_path": "config/credentials.json"},
        {"edits": [{"path": ".npmrc", "text": "hunter2"}]},
        {"command": " ".join(["word"] * 3_000)},
    ],
)
def test_what_a_call_gave_that_names_a_secret_foreign_or_ignored_file_is_withheld(providers, arguments):
    asked = shown(providers, *result_of({**arguments, "content": "hunter2"}, "hunter2"))
    assert "hunter2" not in asked
    assert f"call Bash: {WITHHELD}" in asked
    assert f"result: {WITHHELD}" in asked


def test_what_an_ordinary_call_gave_is_shown_with_paths_relative_to_the_root(providers):
    root = providers.confined.root
    asked = shown(providers, *result_of({"command": f"cd {root} && ls src/ 2>/dev/null"}, f"{root}/src/cart.py\n"))
    assert "result: src/cart.py" in asked
    assert str(root) not in asked.partition("result:")[2]


@pytest.mark.parametrize(
    "text",
    [
        "src/cart.py:1:x\n.env:3:DATABASE=hunter2\n",
        "src/cart.py\n1:x\n\n.env\n3:DATABASE=hunter2\n4:OTHER=hunter2",
        "diff --git a/.env b/.env\n+DATABASE=hunter2\n \n+OTHER=hunter2",
        "PASSWORD=hunter2",
        '{"api_key": "hunter2"}',
        "postgres://root:hunter2@db/x",
        "Authorization: Bearer hunter2hunter2",
        "sk-hunter2hunter2hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n",
        "ordinary\n" * 4_000 + "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * 40,
        "ordinary\n" * 4_000 + "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * 2_000 + "\n" + "hunter2\n" * 9,
        ".env\n" + "x\n" * 30_000 + "1:hunter2\n" * 5,
    ],
)
def test_secrets_in_what_a_tool_gave_are_not_shown(providers, text):
    assert "hunter2" not in shown(providers, *result_of({"pattern": "x"}, text, "grep"))


def test_outputs_of_unknown_calls_are_withheld_and_all_of_them_on_demand(providers):
    assert "hunter2" not in shown(providers, Item("tool_result", id="other", text="hunter2"))
    ordinary = result_of({"pattern": "x"}, "src/cart.py:1:x", "grep")
    assert "src/cart.py:1" in shown(providers, *ordinary)
    assert "src/cart.py:1" not in shown(providers, *ordinary, outputs=False)


def test_a_question_is_bounded_whatever_the_session_says(providers):
    items = [Item("assistant_text", text=f"{number} " + "words and more " * 5_000) for number in range(200)]
    asked = shown(providers, *items, characters=2_000)
    assert len(asked) < 5_000
    assert "agent: 199 " in asked
    assert "agent: 190 " not in asked


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
