"""What the code graph says, as facts: ready, and true of the files as they are."""

import asyncio

import pytest

from preloader.errors import LoadError, RefusedPathError, UnknownResourceError
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import Desk, git, repository, write

FILES = {
    "shop/__init__.py": "",
    "shop/cart.py": "from shop.money import euro\n\n\ndef total():\n    return euro()\n",
    "shop/money.py": "def euro():\n    return 1\n\n\ndef pound():\n    return 2\n",
    "tests/test_cart.py": "from shop.cart import total\n",
    "tests/test_pound.py": "from shop.money import pound\n",
    "web/tsconfig.json": '{"compilerOptions": {"paths": {"@/*": ["a/*"]}}}',
    "web/app.ts": "import { x } from '@/x';\n",
    "web/a/x.ts": "export const x = 1;\n",
    "web/b/x.ts": "export const x = 2;\n",
}


def in_workspace(root, use):
    async def main():
        async with Workspace(root, watch=False) as workspace:
            await use(workspace)
            return workspace.statistics()

    return asyncio.run(main())


def to_run(found):
    return [one.path for one in found.tests]


def test_an_impact_is_that_of_the_files_as_they_are(tmp_path):
    repository(tmp_path, FILES)

    async def use(workspace):
        found = await workspace.facts("impact shop/money.py")
        assert to_run(found) == ["tests/test_pound.py", "tests/test_cart.py"]
        assert await workspace.facts("impact shop/money.py") == found
        write(tmp_path, {"tests/test_pound.py": "", "tests/test_new.py": FILES["tests/test_cart.py"]})  # nobody is told
        assert to_run(await workspace.facts("impact shop/money.py")) == ["tests/test_cart.py", "tests/test_new.py"]
        (tmp_path / "tests/test_cart.py").unlink()
        assert to_run(await workspace.facts("impact shop/money.py")) == ["tests/test_new.py"]
        (tmp_path / "shop/money.py").unlink()
        assert to_run(await workspace.facts("impact shop/money.py")) == ["tests/test_new.py"]

    statistics = in_workspace(tmp_path, use)
    assert (statistics.hits, statistics.misses) == (1, 4)


def test_the_impact_of_what_is_not_committed(tmp_path):
    repository(tmp_path, FILES)

    async def use(workspace):
        assert (await workspace.facts("impact")).changes == ()
        write(
            tmp_path, {"shop/money.py": FILES["shop/money.py"].replace("2", "3"), "tests/test_new.py": "import shop\n"}
        )
        found = await workspace.facts("impact")
        assert [(one.path, one.lines) for one in found.changes] == [
            ("shop/money.py", ((5, 6),)),
            ("tests/test_new.py", ()),
        ]
        assert to_run(found) == ["tests/test_new.py", "tests/test_pound.py"], "euro did not change"
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", "second")
        assert (await workspace.facts("impact")).changes == ()

    in_workspace(tmp_path, use)


def test_related_files_follow_a_configuration(tmp_path):
    write(tmp_path, FILES)

    async def imported(workspace):
        found = await workspace.facts("related web/app.ts")
        return [one.path for one in found if one.reasons[0].kind == "imports"]

    async def use(workspace):
        assert await imported(workspace) == ["web/a/x.ts"]
        write(tmp_path, {"web/tsconfig.json": FILES["web/tsconfig.json"].replace("a/*", "b/*")})
        assert await imported(workspace) == ["web/b/x.ts"]

    in_workspace(tmp_path, use)


def test_related_files_follow_new_commits(tmp_path):
    repository(tmp_path, FILES)

    async def together(workspace):
        found = await workspace.facts("related shop/cart.py")
        return {one.path for one in found for reason in one.reasons if reason.kind == "co-changed"}

    async def use(workspace):
        assert "notes.md" not in await together(workspace)
        write(tmp_path, {"shop/cart.py": "x = 1\n", "notes.md": "x"})
        git(tmp_path, "add", "-A")
        assert "notes.md" not in await together(workspace)
        git(tmp_path, "commit", "-qm", "second")
        assert "notes.md" in await together(workspace)

    in_workspace(tmp_path, use)


def test_what_may_not_be_looked_at_is_not_named(tmp_path):
    write(tmp_path, {**FILES, "old/test_cart.py": "", "shop/.env": "KEY=1"})

    async def use(workspace):
        names = [one.path for one in await workspace.facts("related shop/cart.py")]
        assert "shop/money.py" in names
        assert "shop/.env" not in names
        assert "old/test_cart.py" in to_run(await workspace.facts("impact shop/cart.py"))
        write(tmp_path, {".gitignore": "old/\n"})
        assert "old/test_cart.py" not in to_run(await workspace.facts("impact shop/cart.py"))
        for name in ("related nope.py", "related shop", "impact shop"):
            with pytest.raises(UnknownResourceError):
                await workspace.facts(name)
        for name in ("impact old/test_cart.py", "impact ../x.py", "related .env", "impact shop/.env"):
            with pytest.raises(RefusedPathError):
                await workspace.facts(name)

    in_workspace(tmp_path, use)


def test_without_a_graph_there_are_none(tmp_path):
    write(tmp_path, FILES)

    async def main():
        async with Desk(tmp_path) as desk:
            with pytest.raises(UnknownResourceError, match="no code graph"):
                await desk.fact("impact shop/cart.py")
        workspace = Workspace(tmp_path, watch=False)
        async with Desk(tmp_path) as desk:
            desk.facts.of_graph.graph = workspace.graph
            with pytest.raises(LoadError, match="is not built"):
                await desk.fact("related shop/cart.py")

    asyncio.run(main())
