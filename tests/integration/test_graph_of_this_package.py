"""The graph of a real checkout, this one, beside what grimp makes of the same package."""

from pathlib import Path

import grimp

import preloader
from preloader.workspace.graph.cochange import CoChanges
from preloader.workspace.graph.diffs import Change
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.reader import Limits
from preloader.workspace.graph.related import related
from preloader.workspace.impact import impact

ROOT = Path(preloader.__file__).parents[1]


def module(path):
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def test_its_imports_are_those_that_grimp_finds_and_its_tests_are_found(tmp_path):
    paths = [
        path.relative_to(ROOT).as_posix()
        for place in ("preloader", "tests/unit")
        for path in (ROOT / place).rglob("*.py")
    ]
    index = GraphIndex(ROOT, tmp_path, Limits())
    done = index.build(paths)
    assert (done.parsed, done.too_large, done.too_slow) == (len(paths), 0, 0)
    package = [path for path in paths if path.startswith("preloader/")]
    ours = {(module(path), module(target)) for path in package for target in index.imports(path)}
    peer = grimp.build_graph("preloader", cache_dir=None)
    assert ours == {(one, other) for one in peer.modules for other in peer.find_modules_directly_imported_by(one)}
    assert related(index, CoChanges(()), "preloader/cache/store.py", 1)[0].path == "tests/unit/test_store.py"
    reached = impact(index, [Change("preloader/scheduling/execution.py")], 2_000)
    assert {"tests/unit/test_execution.py", "tests/unit/test_manager.py"} <= {one.path for one in reached.tests}
    index.close()
