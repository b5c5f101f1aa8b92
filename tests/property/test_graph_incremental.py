"""Whatever is written, renamed and deleted, however taken in: the graph is the one that is built from nothing."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.reader import Limits
from tests.unit.graph_scene import listed, write

PYTHON = [
    "import a\nimport pkg.b as b, pkg.sub.c\n",
    "from pkg import b, sub, name\nfrom pkg.sub import c\n",
    "from . import b\nfrom .sub import *\nfrom ..a import x\n",
    "import tool, other\nfrom other.d import y\n",
    "x = (\n",
]
SCRIPT = [
    "import './lib'; import z from './lib/y.js';\n",
    "export * from '@/lib/y'; const q = require('kit/part');\n",
    "import { a } from '../x'; import '.'; import 'kit'; import './style.css'\n",
]
GO = [
    "package p\nfunc F() { G() }\n",
    "package p\nfunc G() {}\ntype T int\n",
    'package p\nimport "m/p"\nvar v T\n',
    'package p\nimport "m/q/p"\nfunc F() { G() }\n',
]
RUST = ["mod m;\nuse crate::m::n::{self, N};\n", "pub mod n;\nuse super::k;\n", "use other::k;\nuse crate::n;\n", ""]
JAVA = ["package a;\nimport b.*;\nclass B { C c; D d; }\n", "package b;\nimport a.B;\nimport a.C.D;\nclass C {}\n"]
KIT = ['{"name": "kit", "main": "dist/part.js"}', '{"name": "kit"}', '{"name": "lib"}']
POOLS = {
    "python": {
        **dict.fromkeys(["a.py", "pkg/__init__.py", "pkg/b.py", "pkg/sub/c.py", "pkg/sub/__init__.py"], PYTHON),
        **dict.fromkeys(["src/other/d.py", "src/other/__init__.py", "lone/tool.py", "lone/pkg/b.py", "pkg.py"], PYTHON),
        "lone/pyproject.toml": [""],
    },
    "javascript": {
        **dict.fromkeys(["x.ts", "lib.tsx", "lib/index.js", "lib/y.ts", "lib/y.js", "kit/src/part.ts"], SCRIPT),
        "lib/style.css": [""],
        "tsconfig.json": ['{"compilerOptions": {"paths": {"@/*": ["./*"]}}}', '{"extends": "./base.json"}', "{"],
        "base.json": ['{"compilerOptions": {"paths": {"@/*": ["lib/../*"]}}}', "{}"],
        "kit/package.json": KIT,
    },
    "go": {
        **dict.fromkeys(["p/f.go", "p/g.go", "p/g_test.go", "q/p/h.go", "main.go"], GO),
        "go.mod": ["module m\n", "module other\n"],
        "q/go.mod": ["module m/q\n"],
    },
    "rust": {
        **dict.fromkeys(["src/lib.rs", "src/m.rs", "src/m/mod.rs", "src/m/n.rs", "src/n.rs", "o/src/lib.rs"], RUST),
        "Cargo.toml": ['[package]\nname = "one"\n', '[lib]\npath = "src/m.rs"\n'],
        "o/Cargo.toml": ['[package]\nname = "other"\n', "["],
    },
    "java": dict.fromkeys(["j/a/B.java", "j/a/C.java", "j/b/C.java", "k/b/D.java", "k/b/C.java", "j/a/D.java"], JAVA),
}


@st.composite
def edits(draw, pool):
    """One edit: the files that it writes, and those that it deletes."""
    path = draw(st.sampled_from(sorted(pool)))
    kind = draw(st.sampled_from(["write", "write", "delete", "rename"]))
    text = draw(st.sampled_from(pool[path]))
    if kind == "rename":
        return {path: text}, [draw(st.sampled_from(sorted(pool)))]
    return ({path: text}, []) if kind == "write" else ({}, [path])


def graph(index):
    known = index.paths()
    return {path: index.imports(path) for path in known}, {path: index.importers(path) for path in known}


def apply(root, written, deleted):
    for path in deleted:
        (root / path).unlink(missing_ok=True)
    for path, text in written.items():
        if not (root / path).is_dir():
            write(root, {path: text})


@pytest.mark.parametrize("language", POOLS)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), reopened_after=st.integers(0, 8))
def test_updates_equal_a_rebuild(language, data, reopened_after):
    pool = POOLS[language]
    start = {path: data.draw(st.sampled_from([*texts, None]), label=path) for path, texts in pool.items()}
    with tempfile.TemporaryDirectory() as place:
        root, state = Path(place) / "root", Path(place) / "state"
        root.mkdir()
        write(root, {path: text for path, text in start.items() if text is not None})
        index = GraphIndex(root, state, Limits())
        index.build(listed(root))
        for number in range(data.draw(st.integers(1, 6), label="steps")):
            step = data.draw(st.lists(edits(pool), min_size=1, max_size=3), label="edits")
            for written, deleted in step:
                apply(root, written, deleted)
            if number == reopened_after:
                index.close()
                index = GraphIndex(root, state, Limits())
                index.build(listed(root))
            else:
                index.update(sorted({path for written, deleted in step for path in (*written, *deleted)}))
            fresh = GraphIndex(root, None, Limits())
            fresh.build(listed(root))
            assert graph(index) == graph(fresh)
            fresh.close()
        index.close()
