"""The graph while files change under it: asked from the loop, told by the path index, cancelled, right in the end."""

import asyncio
import random

import pytest

from preloader.scheduling.execution import ThreadExecutor
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.reader import Limits
from preloader.workspace.index import PathIndex
from tests.unit.graph_scene import edges, listed, write

MODULES = [f"p{number % 4}/m{number}.py" for number in range(24)]
WITHIN_S = 30


def text(rng):
    taken = rng.sample(MODULES, 3)
    return "".join(f"from {path[:-3].replace('/', '.')} import f\n" for path in taken) + "async def f():\n    open(1)\n"


def change(rng, root):
    path, other = rng.sample(MODULES, 2)
    if rng.random() < 0.6 or not (root / path).exists():
        write(root, {path: text(rng)})
    elif rng.random() < 0.5:
        (root / path).unlink()
        return [path]
    else:
        (root / path).rename(root / other)
    return [path, other]


async def ask(graph, rng):
    path = rng.choice(MODULES)
    await graph.imports(path)
    await graph.related(path)
    await graph.impact([path])
    await graph.defining("f")


@pytest.mark.parametrize("seed", range(3))
def test_edits_questions_and_cancellations_at_once(tmp_path, seed):
    root, rng = tmp_path / "root", random.Random(seed)
    write(root, {path: text(rng) for path in MODULES})

    async def main():
        executor = ThreadExecutor()
        graph = CodeGraph(root, executor, state=tmp_path / "state", commits=0)
        await graph.build(listed(root))
        for _ in range(30):
            updates = [asyncio.ensure_future(graph.update(change(rng, root))) for _ in range(3)]
            questions = [asyncio.ensure_future(ask(graph, rng)) for _ in range(3)]
            await asyncio.sleep(0)
            for task in rng.sample(updates + questions, 2):
                task.cancel()
            results = await asyncio.gather(*updates, *questions, return_exceptions=True)
            assert [one for one in results if isinstance(one, Exception)] == []
        await graph.update(MODULES)  # what a cancelled update had not looked at
        found = {path: await graph.imports(path) for path in listed(root)}
        await graph.aclose()
        while executor.live:
            await asyncio.sleep(0.001)
        await executor.aclose()
        return found

    found = asyncio.run(main())
    fresh = GraphIndex(root, None, Limits())
    fresh.build(listed(root))
    assert found == edges(fresh)
    fresh.close()


def test_the_path_index_tells_the_graph_what_changed(tmp_path):
    write(tmp_path, {"a.py": "import b\n", "b.py": "", "skip.py": "import b\n", ".gitignore": "skip.py\n"})

    async def main():
        executor = ThreadExecutor()
        graph = CodeGraph(tmp_path, executor, commits=0)
        changed: asyncio.Queue[frozenset[str]] = asyncio.Queue()
        async with PathIndex(tmp_path, executor=executor, on_change=changed.put_nowait) as index:
            await graph.build(index.table)
            assert await graph.importers("b.py") == {"a.py": ()}
            write(tmp_path, {"c.py": "from b import x\n"})
            (tmp_path / "a.py").unlink()
            async with asyncio.timeout(WITHIN_S):
                while await graph.importers("b.py") != {"c.py": ("x",)}:
                    await graph.update(await changed.get())
        await graph.aclose()
        await executor.aclose()

    asyncio.run(main())
