"""The workspace as a whole, on a small git repository: what streams is ready when asked for, and nothing else is."""

import asyncio
import contextlib
import json
import threading

import msgspec
import pytest

from preloader.errors import ClosedError, ConfigurationError, RefusedCallError, RefusedPathError
from preloader.manager import PreloadManager
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.learn.models import load_models
from preloader.workspace.policy import SETTINGS
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import git, repository, write

FILES = {
    "shop/cart.py": "from shop.prices import price\n\n\nclass Cart:\n    pass\n",
    "shop/prices.py": "def price():\n    return 1\n",
    "shop/orders.py": "def order():\n    return 2\n",
    "tests/test_cart.py": "from shop.cart import Cart\n",
    "docs/plan.md": "# Plan\n",
    ".gitignore": "secret/\n",
}


@pytest.fixture
def root(tmp_path):
    repository(tmp_path / "shop-app", FILES)
    return tmp_path / "shop-app"


def open_workspace(root, **options):
    return Workspace(root, **{"watch": False, "graph": False, **options})


def generous():
    return msgspec.structs.replace(SETTINGS, waste_budget=None)


async def loaded(workspace):
    """Wait until all that was fed is analysed, and all that was decided on is loaded."""
    await workspace.settled()
    for _ in range(2_000):
        await asyncio.sleep(0.005)  # hints reach the policy a turn of the loop later
        tiers = workspace.manager_statistics().tiers.values()
        if not any(tier.queued or tier.loading for tier in tiers):
            return
    raise AssertionError("preloads did not come to rest")


@pytest.mark.parametrize("chunk", [None, 5, ["x"]])
def test_what_is_fed_is_text_or_bytes(root, chunk):
    async def scenario():
        async with open_workspace(root) as workspace:
            with pytest.raises(ConfigurationError, match="chunk must be a text or bytes, not "):
                workspace.feed(chunk, "user")

    asyncio.run(scenario())


def test_a_file_that_the_stream_names_is_ready_when_it_is_read(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            for piece in ("Let me look at `shop/ca", "rt.py` fir", "st."):
                workspace.feed(piece, "assistant")
            await loaded(workspace)
            source = await workspace.read_file("shop/cart.py")
            assert source.text == FILES["shop/cart.py"]
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.hits, statistics.misses) == (1, 0)
    assert (statistics.correct, statistics.incorrect) == (1, 0)
    assert statistics.failures == 0
    assert statistics.background_s > 0
    assert statistics.saved_s == pytest.approx(statistics.background_s)


def test_bytes_cut_anywhere_name_a_file_and_what_is_no_text_does_no_harm(root):
    write(root, {"docs/plan für 日本.md": "# Plan\n"})
    said = "\ufeffLet me read `docs/plan für 日本.md`.".encode() + b"\xff\xf0\x9f"

    async def scenario():
        async with open_workspace(root) as workspace:
            for byte in said:
                workspace.feed(bytes((byte,)), "assistant")
                workspace.feed(b"", "assistant")
            workspace.feed(b"\xc3", "tool_output", stream="a")
            workspace.feed(b"\xa9 shop/cart.py", "tool_output", stream="a", last=True)
            await loaded(workspace)
            await workspace.read_file("docs/plan für 日本.md")
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.hits, statistics.failures) == (1, 0)


def test_a_read_that_nothing_announced_is_a_miss_and_right(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            assert (await workspace.read_file("docs/plan.md")).text == "# Plan\n"
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.hits, statistics.misses, statistics.correct) == (0, 1, 0)


def test_an_edit_is_never_served_stale_however_soon_it_comes(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            for number in range(20):
                workspace.feed("see `shop/cart.py`", "assistant", last=True)
                await loaded(workspace)
                (root / "shop/cart.py").write_text(f"x = {number}\n")  # the same size, within the same second
                if number % 2:
                    workspace.on_edit("shop/cart.py")
                assert (await workspace.read_file("shop/cart.py")).text == f"x = {number}\n"

    asyncio.run(scenario())


def test_an_edited_file_is_ready_again_as_it_is_now(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            await workspace.read_file("shop/cart.py")
            (root / "shop/cart.py").write_text("edited = 1\n")
            workspace.on_edit("shop/cart.py")
            await loaded(workspace)
            assert (await workspace.read_file("shop/cart.py")).text == "edited = 1\n"
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.hits, statistics.misses) == (1, 1)


def test_a_new_file_is_known_after_the_edit_was_told(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            write(root, {"shop/fresh.py": "fresh = 1\n"})
            workspace.on_edit("shop/fresh.py")
            workspace.feed("Now check `fresh.py`", "assistant", last=True)
            await loaded(workspace)
            assert (await workspace.read_file("shop/fresh.py")).text == "fresh = 1\n"
            return workspace.statistics()

    assert asyncio.run(scenario()).hits == 1


def test_a_call_is_run_ahead_while_its_arguments_stream(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            arguments = json.dumps({"pattern": "price", "path": "shop"})
            workspace.feed(arguments[:9], "tool_call", stream="c1", tool="grep")
            workspace.feed(arguments[9:], "tool_call", stream="c1", last=True)
            await loaded(workspace)
            found = await workspace.call_tool("grep", {"path": "shop", "pattern": "price"})
            assert "prices.py" in str(found)
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.hits, statistics.correct) == (1, 1)


def test_failures_of_a_test_run_are_ready_as_a_fact(root):
    output = (
        "=========== short test summary info ===========\n"
        "FAILED tests/test_cart.py::test_total - AssertionError: assert 1 == 2\n"
        "=========== 1 failed in 0.1s ===========\n"
    )

    async def scenario():
        async with open_workspace(root) as workspace:
            workspace.feed(json.dumps({"command": "pytest -q"}), "tool_call", stream="c1", tool="Bash", last=True)
            workspace.feed(output, "tool_output", stream="c1", last=True)
            await loaded(workspace)
            report = await workspace.facts("test failures")
            assert "test_total" in str(report)
            return workspace.statistics()

    assert asyncio.run(scenario()).hits == 1


def test_a_new_query_drops_what_was_meant_for_the_last_one(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            workspace.feed("see `shop/cart.py` and `shop/orders.py`", "assistant", last=True)
            await loaded(workspace)
            await workspace.read_file("shop/cart.py")
            assert workspace.manager_statistics().ledger.open_preloads == 1
            workspace.feed("and then `docs/plan.md`", "assistant", last=True)
            workspace.new_query("What about `shop/prices.py`?")
            assert workspace.manager_statistics().ledger.open_preloads == 0
            dropped = workspace.statistics()
            await loaded(workspace)
            await workspace.read_file("shop/prices.py")
            await workspace.read_file("docs/plan.md")
            return dropped, workspace.statistics()

    dropped, after = asyncio.run(scenario())
    assert (dropped.correct, dropped.incorrect) == (1, 1)
    assert (after.hits, after.misses) == (2, 1)  # the plan was forgotten before it was looked up
    assert after.incorrect == 1


def test_at_most_five_new_files_are_prepared_between_two_calls(root):
    write(root, {f"lib/module_{number}.py": f"{number}\n" for number in range(12)})
    git(root, "add", "-A")

    async def scenario():
        async with open_workspace(root, settings=generous()) as workspace:
            workspace.feed(" ".join(f"`lib/module_{number}.py`" for number in range(12)), "user", last=True)
            await loaded(workspace)
            return workspace.manager_statistics().speculative

    assert asyncio.run(scenario()) == 5


HOSTILE = [
    "../../.ssh/id_rsa",
    "/etc/passwd",
    "`/etc/shadow`",
    "~/.aws/credentials",
    ".env",
    "secret/key.py",
    ".git/config",
    "linked.py",
    "\x00\x01 \ud7ff `shop/\u202e.py`",
    "a" * 100_000,
    "(" * 50_000,
    '{"path": ' * 20_000,
    "`" * 30_001,
]


def test_hostile_mentions_do_nothing(root):
    write(root, {".env": "KEY=1\n", "secret/key.py": "KEY = 1\n"})
    (root / "linked.py").symlink_to("/etc/passwd")
    git(root, "add", "-f", ".env", "linked.py")

    async def scenario():
        async with open_workspace(root, settings=generous()) as workspace:
            for text in HOSTILE:
                for source in ("user", "assistant", "tool_output", "tool_call"):
                    workspace.feed(f"see {text} now", source, stream=text[:9], last=True)
                workspace.feed(json.dumps({"file_path": text}), "tool_call", stream="w", tool="read_file", last=True)
                for path in (text, ".env", "../x"):
                    with contextlib.suppress(ConfigurationError):
                        workspace.feed(json.dumps({"path": path}), "tool_call", stream="w", tool="Bash", last=True)
            await loaded(workspace)
            assert workspace.manager_statistics().resident_bytes == 0
            for path in ("../../.ssh/id_rsa", ".env", "/etc/passwd", "secret/key.py", "linked.py"):
                with pytest.raises((RefusedPathError, KeyError)):
                    await workspace.read_file(path)
            with pytest.raises(RefusedCallError):
                await workspace.call_tool("Bash", {"command": "ls"})
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert statistics.failures == 0
    assert statistics.correct == 0


def test_leaving_ends_everything_whatever_is_under_way(root):
    before = set(threading.enumerate())

    async def scenario():
        async with open_workspace(root, watch=True, graph=True) as workspace:
            workspace.feed("see `shop/cart.py` " * 20_000, "assistant")
            workspace.feed("and `shop/prices.py`", "thinking")
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        with pytest.raises(ClosedError):
            workspace.feed("more", "assistant")
        with pytest.raises(ClosedError):
            await workspace.read_file("shop/cart.py")
        await workspace.settled()
        assert workspace.manager_statistics().ledger.open_preloads == 0

    asyncio.run(scenario())
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before


def test_cancellation_of_the_owner_leaves_nothing_running(root):
    async def hold(entered):
        async with open_workspace(root, watch=True, graph=True) as workspace:
            workspace.feed("see `shop/cart.py`", "assistant")
            entered.set()
            await asyncio.Event().wait()

    async def scenario():
        entered = asyncio.Event()
        owner = asyncio.create_task(hold(entered))
        await entered.wait()
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_a_read_that_is_cancelled_harms_no_other(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            reads = [asyncio.create_task(workspace.read_file("shop/cart.py")) for _ in range(3)]
            await asyncio.sleep(0)
            reads[0].cancel()
            done = await asyncio.gather(*reads, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError)
            assert done[1].text == done[2].text == FILES["shop/cart.py"]

    asyncio.run(scenario())


def test_a_manager_of_ones_own_serves_the_workspace_and_outlives_it(root):
    providers = WorkspaceProviders(root)

    async def scenario():
        async with PreloadManager(providers.by_kind, settings=SETTINGS) as manager:
            async with open_workspace(root, manager=manager, providers=providers) as workspace:
                workspace.feed("see `shop/cart.py` and `shop/orders.py`", "assistant", last=True)
                await loaded(workspace)
                await workspace.read_file("shop/cart.py")
            ledger = manager.statistics().ledger
            assert (ledger.open_preloads, ledger.preloads["used"], ledger.preloads["wasted"]) == (0, 1, 1)
            assert (await manager.get("file:shop/prices.py")).path == "shop/prices.py"

    asyncio.run(scenario())


def test_a_manager_without_its_providers_is_refused(root):
    providers = WorkspaceProviders(root)
    with pytest.raises(ConfigurationError, match="providers"):
        Workspace(root, manager=PreloadManager(providers.by_kind))


def test_the_manager_learns_from_what_is_read(root):
    async def scenario():
        async with open_workspace(root, settings=generous()) as workspace:
            for _ in range(12):
                for path in ("shop/cart.py", "shop/prices.py", "docs/plan.md"):
                    await workspace.read_file(path)
                    await loaded(workspace)
            await workspace.manager.clear()
            await workspace.read_file("shop/cart.py")
            await loaded(workspace)
            before = workspace.statistics()
            await workspace.read_file("shop/prices.py")
            return before, workspace.statistics()

    before, after = asyncio.run(scenario())
    assert after.hits == before.hits + 1
    assert after.correct == before.correct + 1


def test_what_imports_a_file_is_ready_once_that_was_read(root):
    async def scenario():
        async with open_workspace(root, graph=True) as workspace:
            while not (await workspace.graph.importers("shop/cart.py")):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            await workspace.read_file("shop/cart.py")
            await loaded(workspace)
            await workspace.read_file("tests/test_cart.py")
            return workspace.statistics()

    assert asyncio.run(scenario()).hits == 1


def test_a_file_that_comes_by_itself_is_noticed(root):
    async def scenario():
        async with open_workspace(root, watch=True) as workspace:
            write(root, {"shop/fresh.py": "fresh = 1\n"})
            while "shop/fresh.py" not in workspace.index.table:
                await asyncio.sleep(0.01)
            workspace.feed("Now check `fresh.py`", "assistant", last=True)
            await loaded(workspace)
            await workspace.read_file("shop/fresh.py")
            return workspace.statistics()

    assert asyncio.run(scenario()).hits == 1


def test_queries_may_follow_while_the_learned_models_are_at_work(root, request):
    models = load_models(request.config.rootpath / "models/workspace/models.npz")

    async def scenario():
        async with open_workspace(root, models=models, settings=generous()) as workspace:
            for number in range(20):
                workspace.new_query(f"Read shop/cart.py and shop/prices.py, {number}")
                workspace.feed("I see `shop/orders.py`, reading it:", "assistant", last=True)
                workspace.feed(json.dumps({"file_path": "docs/plan.md"}), "tool_call", stream="c", tool="Read")
                await asyncio.sleep(0.002 * (number % 3))
            workspace.feed("", "tool_call", stream="c", last=True)
            await loaded(workspace)
            assert (await workspace.read_file("docs/plan.md")).path == "docs/plan.md"
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert statistics.failures == 0
    assert statistics.hits == 1


def test_what_comes_too_fast_is_skipped_and_counted(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            for _ in range(3):
                workspace.feed("word " * 1_500_000, "assistant")
            workspace.new_query("see `shop/cart.py`")
            await loaded(workspace)
            await workspace.read_file("shop/cart.py")
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.skipped, statistics.hits) == (1, 1)


CATALOGUE = """
[tools.Read]
builtin = "read_file"
rename = { file_path = "path" }
"""


def test_a_call_that_nobody_announced_is_run_ahead_by_the_learned_models(root, tmp_path, request):
    models = load_models(request.config.rootpath / "models/workspace/models.npz")
    (tmp_path / "tools.toml").write_text(CATALOGUE)

    async def scenario():
        tools = ToolCatalogue.from_toml(tmp_path / "tools.toml")
        async with open_workspace(root, models=models, tools=tools, settings=generous()) as workspace:
            workspace.new_query("The total in shop/cart.py is wrong.")
            workspace.feed('{"file_path": "docs/totals.md"}', "tool_call", stream="c0", tool="Read", last=True)
            workspace.feed("Totals are sums.", "tool_output", stream="c0", last=True)  # it reads files whole
            workspace.feed('{"pattern": "total"}', "tool_call", stream="c1", tool="Grep", last=True)
            found = "shop/cart.py:3:total = 1\nshop/prices.py:9: total"
            workspace.feed(found, "tool_output", stream="c1", last=True)
            workspace.feed("I found `shop/cart.py`. Let me read `shop/cart.py`:", "assistant", last=True)
            await loaded(workspace)
            read = await workspace.call_tool("Read", {"file_path": str(root / "shop/cart.py")})
            assert read.text == FILES["shop/cart.py"]
            return workspace.statistics()

    assert asyncio.run(scenario()).hits == 1
