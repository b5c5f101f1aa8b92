"""Which files belong with one, and what git's history adds."""

import asyncio
import subprocess

import pytest

from preloader.errors import ClosedError
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.workspace.graph.cochange import CoChanges, Commit
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.graph.related import related
from tests.unit.graph_scene import graph_of, listed, write

FILES = {
    "shop/__init__.py": "",
    "shop/cart.py": "from shop import money\n",
    "shop/money.py": "",
    "shop/view.py": "from shop.cart import Cart\n",
    "shop/cart.css": "",
    "tests/test_cart.py": "import shop.cart\n",
    "tests/test_view.py": "import shop.view, shop.cart\n",
    "web/cart.test.ts": "import { c } from './cart'\n",
    "web/cart.ts": "export const c = 1\n",
    "README.md": "",
}
DAY_S = 86_400.0


def kinds(found):
    return {one.path: sorted(reason.kind for reason in one.reasons) for one in found}


def test_each_kind_of_relation_is_named(tmp_path):
    changes = CoChanges([Commit(0.0, ("shop/cart.py", "README.md")), Commit(0.0, ("shop/cart.py", "gone.py"))])
    with graph_of(tmp_path, FILES) as index:
        found = related(index, changes, "shop/cart.py", 20)
        assert kinds(found) == {
            "tests/test_cart.py": ["test", "test"],
            "tests/test_view.py": ["test"],
            "shop/money.py": ["imports", "sibling"],
            "shop/view.py": ["importer", "sibling"],
            "shop/cart.css": ["sibling"],
            "shop/__init__.py": ["sibling"],
            "README.md": ["co-changed"],
        }
        assert found[0].path == "tests/test_cart.py"
        assert all(0.0 < one.score <= 1.0 for one in found)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert [one.path for one in related(index, changes, "shop/cart.py", 2)] == [one.path for one in found[:2]]


def test_a_test_leads_to_what_it_tests(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        assert related(index, CoChanges(()), "tests/test_cart.py", 1)[0].path == "shop/cart.py"
        assert related(index, CoChanges(()), "web/cart.test.ts", 1)[0].path == "web/cart.ts"
        assert related(index, CoChanges(()), "web/cart.ts", 1)[0].path == "web/cart.test.ts"


def test_a_name_with_dots_leads_to_its_test_and_back(tmp_path):
    files = {"src/cart.service.ts": "", "src/cart.service.spec.ts": "", "src/cart.ts": "", "tests/test_cart.py": ""}
    with graph_of(tmp_path, files) as index:
        there = kinds(related(index, CoChanges(()), "src/cart.service.ts", 9))
        assert there["src/cart.service.spec.ts"] == ["sibling", "test"]
        assert "tests/test_cart.py" not in there
        back = kinds(related(index, CoChanges(()), "src/cart.service.spec.ts", 9))
        assert back["src/cart.service.ts"] == ["sibling", "tested"]
        assert back["src/cart.ts"] == ["sibling"]
        assert related(index, CoChanges(()), "tests/test_cart.py", 9) == []


def test_a_private_module_and_its_test_belong_together(tmp_path):
    with graph_of(tmp_path, {"pkg/_client.py": "", "tests/test_client.py": ""}) as index:
        assert kinds(related(index, CoChanges(()), "pkg/_client.py", 9)) == {"tests/test_client.py": ["test"]}
        assert kinds(related(index, CoChanges(()), "tests/test_client.py", 9)) == {"pkg/_client.py": ["tested"]}


def test_what_everything_imports_says_less(tmp_path):
    files = {f"m{n}.py": "import hub\n" for n in range(30)} | {"hub.py": "", "own.py": "", "a.py": "import hub, own\n"}
    with graph_of(tmp_path, files) as index:
        scores = {one.path: one.score for one in related(index, CoChanges(()), "a.py", 99)}
        assert scores["own.py"] > scores["hub.py"]


def test_large_and_old_commits_say_less():
    recent, old = Commit(400 * DAY_S, ("a", "new")), Commit(0.0, ("a", "old"))
    large = Commit(400 * DAY_S, ("a", *(f"f{n}" for n in range(9))))
    huge = Commit(400 * DAY_S, ("a", *(f"g{n}" for n in range(99))))
    shares = CoChanges([recent, old, large, huge]).together("a")
    assert shares["new"] > shares["f0"] > shares["old"] > 0.0
    assert "g0" not in shares
    assert CoChanges([]).together("a") == {}


def git(root, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)


def test_a_graph_on_the_loop_answers_with_gits_history(tmp_path):
    async def main():
        write(tmp_path, FILES)
        git(tmp_path, "init", "-q")
        for number in range(3):
            write(tmp_path, {"shop/cart.py": f"x = {number}\n", "web/cart.ts": f"{number}\n"})
            git(tmp_path, "add", "shop/cart.py", "web/cart.ts")
            git(tmp_path, "commit", "-qm", "both")
        executor = ThreadExecutor()
        graph = CodeGraph(tmp_path, executor, state=tmp_path / ".state")
        done = await graph.build(path for path in listed(tmp_path) if not path.startswith(".git/"))
        assert done.parsed == 8
        found = await graph.related("shop/cart.py")
        assert "co-changed" in kinds(found)["web/cart.ts"]
        assert "README.md" not in kinds(found)
        git(tmp_path, "add", "README.md")
        write(tmp_path, {"shop/cart.py": "x = 9\n"})
        git(tmp_path, "commit", "-qam", "read me")
        await graph.read_history()
        assert "co-changed" in kinds(await graph.related("shop/cart.py"))["README.md"]
        write(tmp_path, {"shop/cart.py": "from shop import view\n"})
        assert (await graph.update(["shop/cart.py"])).parsed == 1
        assert await graph.imports("shop/cart.py") == {"shop/view.py": ()}
        assert await graph.importers("shop/view.py") == {"shop/cart.py": (), "tests/test_view.py": ()}
        statistics = await graph.statistics()
        assert (statistics.files, statistics.parsed) == (10, 9)
        await graph.aclose()
        with pytest.raises(ClosedError):
            await graph.related("shop/cart.py")
        await executor.aclose()

    asyncio.run(main())


def test_without_a_repository_nothing_changes_together(tmp_path):
    async def main():
        write(tmp_path, FILES)
        async with CodeGraph(tmp_path, InlineExecutor()) as graph:
            await graph.build(listed(tmp_path))
            assert "README.md" not in kinds(await graph.related("shop/cart.py"))

    asyncio.run(main())


def test_closing_stops_a_build(tmp_path):
    async def main():
        write(tmp_path, {f"m{n}.py": "import hub\n" * 300 for n in range(60)})
        executor = ThreadExecutor()
        graph = CodeGraph(tmp_path, executor, state=tmp_path / ".state", commits=0)
        building = asyncio.ensure_future(graph.build(listed(tmp_path)))
        while not (await graph.statistics()).files:
            await asyncio.sleep(0)
        await graph.aclose()
        with pytest.raises(ClosedError):
            await building
        with pytest.raises(ClosedError):
            await graph.build([])
        await executor.aclose()

    asyncio.run(main())


def test_a_cancelled_build_stops_and_the_next_finishes(tmp_path):
    async def main():
        write(tmp_path, {f"m{n}.py": "import hub\n" * 300 for n in range(60)} | {"hub.py": ""})
        executor = ThreadExecutor()
        graph = CodeGraph(tmp_path, executor, commits=0)
        building = asyncio.ensure_future(graph.build(listed(tmp_path)))
        while not (await graph.statistics()).files:
            await asyncio.sleep(0)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        while executor.abandoned:  # it ends by itself
            await asyncio.sleep(0.001)
        statistics = await graph.statistics()
        assert (statistics.stopped, statistics.parsed) == (1, 0)
        assert statistics.files < 61
        await graph.build(listed(tmp_path))
        assert len(await graph.importers("hub.py")) == 60
        await graph.aclose()
        await executor.aclose()

    asyncio.run(main())
