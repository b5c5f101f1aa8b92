"""A workspace that is advised by a model over real HTTP: what it says is ready, and no fault of its harms anything."""

import asyncio
import json
import threading

import msgspec
import pytest

pytest.importorskip("openai")

from preloader.llm import OpenAIModel
from preloader.workspace.advice.settings import Advice
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace
from tests.unit.chat_server import RESET, completion, server
from tests.unit.workspace_tree import repository, write

FILES = {
    "shop/cart.py": "class Cart:\n    pass\n",
    "docs/plan.md": "# Plan\n",
    "notes/minutes.md": "# Minutes\n",
    ".gitignore": "build/\n",
}


@pytest.fixture
def root(tmp_path):
    repository(tmp_path / "shop-app", FILES)
    write(tmp_path / "shop-app", {".env": "KEY=hunter2\n", "build/out.txt": "hunter2\n"})
    write(tmp_path, {".ssh/id_rsa": "hunter2\n"})
    return tmp_path / "shop-app"


def advised(*paths, calls=(), probability=0.9):
    files = [{"path": path, "probability": probability} for path in paths]
    return 200, completion(json.dumps({"files": files, "calls": list(calls)}))


def call(tool, /, **arguments):
    pairs = [{"name": name, "value": value} for name, value in arguments.items()]
    return {"tool": tool, "arguments": pairs, "probability": 0.9}


async def until(is_so):
    for _ in range(10_000):  # the machine may be busy
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about")


class Advised:
    """A workspace, the server that advises it, and what that was asked."""

    def __init__(self, workspace, log):
        self.workspace, self.log = workspace, log

    @property
    def advice(self):
        return self.workspace.statistics().advice

    @property
    def tiers(self):
        return self.workspace.manager_statistics().tiers.values()

    async def said(self, text, source="assistant", **options):
        self.workspace.feed(text, source, last=True, **options)
        await self.workspace.settled()

    async def ended(self, questions):
        """Wait until so many questions have ended, and what was advised is loaded."""
        ends = ("answered", "late", "invalid", "failed", "cancelled")
        await until(lambda: sum(getattr(self.advice, end) for end in ends) >= questions)
        await asyncio.sleep(0.01)
        await until(lambda: not any(tier.queued or tier.loading for tier in self.tiers))


def run(root, answer, script, **options):
    async def main(url, log):
        settings = msgspec.structs.replace(SETTINGS, waste_budget=None)
        async with OpenAIModel("tiny", base_url=url, api_key="key-of-the-server") as model:
            advice = Advice(model=model, **{"timeout_s": 60.0, **options})
            async with Workspace(root, advice=advice, settings=settings, watch=False, graph=False) as workspace:
                await script(Advised(workspace, log))
        assert len(asyncio.all_tasks()) == 1
        return workspace.statistics()

    with server(answer) as (url, log):
        return asyncio.run(main(url, log))


def objects(schema):
    """Yield the objects that a schema describes."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for one in schema.values():
            yield from objects(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from objects(one)


def test_what_the_model_says_is_ready_when_it_is_asked_for(root):
    def answer(request):
        return advised("docs/plan.md", calls=[call("grep", pattern="Cart")])

    async def script(scene):
        await scene.said("Where were we?", "user")
        await scene.ended(1)
        assert (await scene.workspace.read_file("docs/plan.md")).text == "# Plan\n"
        found = await scene.workspace.call_tool("grep", {"pattern": "Cart"})
        assert [match.path for match in found.matches] == ["shop/cart.py"]
        (request,) = scene.log
        schema = request["response_format"]["json_schema"]
        assert schema["strict"] is True
        told = list(objects(schema["schema"]))
        assert len(told) >= 4
        for one in told:  # as servers want it that hold a model to a schema
            assert one["additionalProperties"] is False
            assert one["required"] == list(one["properties"])
        assert "user: Where were we?" in request["messages"][0]["content"]

    statistics = run(root, answer, script)
    assert (statistics.hits, statistics.misses) == (2, 0)
    assert statistics.correct == 2
    told = statistics.advice
    assert (told.asked, told.answered, told.accepted, told.refused, told.used) == (1, 1, 2, 0, 2)
    assert told.tokens > 0


def test_without_advice_nothing_is_asked(root):
    async def main():
        async with Workspace(root, watch=False, graph=False) as workspace:
            workspace.feed("see `shop/cart.py`", "assistant", last=True)
            await workspace.settled()
            return workspace.statistics().advice

    assert asyncio.run(main()) is None


FAULTS = {
    "429": ((429, b'{"error": {"message": "slow down"}}'), "failed"),
    "500": ((500, b"{}"), "failed"),
    "connection reset": (RESET, "failed"),
    "no JSON at all": ((200, b"<html>"), "failed"),
    "no completion": ((200, b"{}"), "invalid"),
    "broken JSON": ((200, completion('{"files": [{"path": "docs/pl')), "invalid"),
    "words": ((200, completion("docs/plan.md, I think")), "invalid"),
    "another schema": ((200, completion('{"paths": ["docs/plan.md"]}')), "invalid"),
    "another type": ((200, completion('{"files": [{"path": 7, "probability": 1}], "calls": []}')), "invalid"),
    "too deep": ((200, completion("[" * 60_000)), "invalid"),
    "too much": ((200, completion(" " * 70_000 + "{}")), "invalid"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_counted_and_the_next_answer_is_heeded(root, fault):
    reply, counted = FAULTS[fault]
    replies = iter([reply, advised("docs/plan.md")])

    async def script(scene):
        await scene.said("one", "user")
        await scene.ended(1)
        await scene.said("two", "user")
        await scene.ended(2)
        await scene.workspace.read_file("docs/plan.md")
        await scene.workspace.read_file("shop/cart.py")
        assert len(scene.log) == 2  # nothing is tried again by itself

    statistics = run(root, lambda request: next(replies), script)
    assert getattr(statistics.advice, counted) == 1
    assert (statistics.advice.asked, statistics.advice.answered, statistics.advice.used) == (2, 1, 1)
    assert (statistics.hits, statistics.misses, statistics.failures) == (1, 1, 0)


def test_a_model_that_always_fails_is_left_alone(root):
    async def script(scene):
        for number in range(8):
            await scene.said(f"word {number}", "user")
            await until(lambda at=number: scene.advice.failed + scene.advice.silenced == at + 1)
        assert len(scene.log) == 3

    assert run(root, lambda request: (500, b"{}"), script).advice.silenced == 5


def test_a_slow_model_is_given_up_and_its_late_answer_is_not_heeded(root):
    release = threading.Event()

    def wait(request):
        release.wait(30)
        return advised("docs/plan.md")

    async def script(scene):
        try:
            await scene.said("one", "user")
            await scene.ended(1)
        finally:
            release.set()
        await scene.workspace.read_file("docs/plan.md")

    statistics = run(root, wait, script, timeout_s=0.2)
    assert (statistics.advice.late, statistics.advice.answered, statistics.misses) == (1, 0, 1)


@pytest.mark.parametrize("what", ["call", "query", "end"])
def test_a_question_is_cancelled_by_the_next_call_a_new_query_and_the_end(root, what):
    release = threading.Event()
    slow = iter([True])

    def answer(request):
        if next(slow, False):
            release.wait(30)
        return advised("docs/plan.md")

    async def script(scene):
        await scene.said("one", "user")
        await until(lambda: scene.log)  # the server has it, and lets it wait
        if what == "end":
            return
        if what == "call":
            await scene.said('{"pattern": "x"}', "tool_call", tool="grep", stream="c")
        else:
            scene.workspace.new_query()
        await scene.ended(1)
        await scene.said("two", "user")
        await scene.ended(2)
        await scene.workspace.read_file("docs/plan.md")

    try:
        statistics = run(root, answer, script)
    finally:
        release.set()
    told = statistics.advice
    assert (told.late, told.cancelled) == ((1, 0) if what == "call" else (0, 1))
    assert told.used == (what != "end")


def test_hostile_answers_reach_nothing(root):
    hostile = (
        *("../../.ssh/id_rsa", "../.ssh/id_rsa", "/etc/passwd", ".env", "./.env", "build/out.txt", ".git/config"),
        *("docs/none.md", "~/.ssh/id_rsa"),
    )
    calls = [
        *(call("Bash", command="cat .env"), call("read_file", path="../.ssh/id_rsa")),
        *(call("read_file", path=".env"), call("grep", pattern="hunter2", glob="../**")),
    ]

    async def script(scene):
        for number in range(0, len(hostile), 3):
            batches.append(hostile[number : number + 3])
            await scene.said(f"word {number}", "user")
            await scene.ended(len(batches))
        assert scene.workspace.manager_statistics().resident_bytes == 0

    batches = []
    statistics = run(root, lambda request: advised(*batches[-1], calls=calls), script)
    told = statistics.advice
    assert (told.answered, told.accepted, told.refused) == (3, 0, len(hostile) + 3 * len(calls))
    assert (statistics.correct, statistics.incorrect, statistics.dropped) == (0, 0, 0)


def test_what_is_sent_holds_no_secret_and_no_path_of_this_machine(root):
    async def script(scene):
        await scene.said("My token=hunter2 is secret.", "user")
        for number, (arguments, output) in enumerate(
            [
                ({"command": f"cat {root}/.env"}, "KEY=hunter2"),
                ({"command": "cat ../.ssh/id_rsa"}, "hunter2"),
                ({"file_path": ".env", "content": "hunter2"}, "done: hunter2"),
                ({"command": "rg KEY"}, ".env\n1:KEY=hunter2\n2:OTHER=hunter2\n"),
                ({"command": f"ls {root}/docs"}, f"{root}/docs/plan.md\n"),
            ]
        ):
            await scene.said(json.dumps(arguments), "tool_call", tool="Bash", stream=str(number))
            await scene.said(output, "tool_output", stream=str(number))
        await until(lambda: "plan.md" in str(scene.log))
        sent = json.dumps([{**request, "path": ""} for request in scene.log])
        assert "hunter2" not in sent
        assert str(root.parent) not in sent

    run(root, lambda request: advised(), script)


def test_a_key_of_the_server_is_in_no_statistics_and_no_log(root, caplog):
    caplog.set_level("DEBUG", logger="preloader")

    async def script(scene):
        await scene.said("one", "user")
        await scene.ended(1)

    statistics = run(root, lambda request: (401, b'{"error": {"message": "bad key-of-the-server"}}'), script)
    assert statistics.advice.failed == 1
    assert "gave no advice" in caplog.text
    assert "key-of-the-server" not in caplog.text + str(statistics)
