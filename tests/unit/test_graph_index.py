"""The index: what is read when, what is kept on disk, and what a damaged file, a stop or a hostile file does to it."""

import logging
import os
import sqlite3
import threading
import time

import pytest

from preloader.workspace.graph import reader, store
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.parsing import Budget, Interrupted, parse, path_to, walk
from preloader.workspace.graph.reader import Limits
from preloader.workspace.graph.store import FILE_NAME
from tests.unit.graph_scene import edges, graph_of, listed, write

FILES = {"a.py": "import b\n", "b.py": "def f(): ...\n", "c.py": "from b import f\n", "notes.md": "#"}
LONG_AGO_NS = 10**18


def age(root):
    """Make all files old, so that nothing can have changed in the moment in which they were read."""
    for path in listed(root):
        os.utime(root / path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def reopened(root, state):
    index = GraphIndex(root, state, Limits())
    return index, index.build(listed(root))


def test_an_edit_parses_that_file_alone(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        write(tmp_path, {"c.py": "import a\n"})
        done = index.update(["c.py"])
        assert (done.parsed, done.resolved) == (1, 1)
        assert index.imports("c.py") == {"a.py": ()}
        assert index.importers("b.py") == {"a.py": ()}


def test_a_file_that_comes_is_found_by_those_who_asked_for_it_alone(tmp_path):
    with graph_of(tmp_path, {"a.py": "import new\n", "b.py": "import os\n", "c.py": "import a\n"}) as index:
        write(tmp_path, {"new.py": ""})
        done = index.update(["new.py"])
        assert (done.parsed, done.resolved) == (1, 2)
        assert index.importers("new.py") == {"a.py": ()}
        (tmp_path / "new.py").rename(tmp_path / "newer.py")
        assert index.update(["new.py", "newer.py"]).removed == 1
        assert index.importers("newer.py") == index.importers("new.py") == index.imports("a.py") == {}


def test_directories_that_come_and_go_with_a_file_are_noticed(tmp_path):
    files = {"a.py": "import deep.er.still.mod\n", "go.mod": "module m\n", "a.go": 'package a\nimport "m/p/q"\n'}
    with graph_of(tmp_path, files) as index:
        write(tmp_path, {"deep/er/still/mod.py": "", "p/q/q.go": "package q\n"})
        index.update(["deep/er/still/mod.py", "p/q/q.go"])
        assert index.imports("a.py") == {"deep/er/still/mod.py": ()}
        assert index.imports("a.go") == {"p/q/q.go": ()}
        write(tmp_path, {"p/q/r.go": "package q\n"})
        index.update(["p/q/r.go"])
        assert index.imports("a.go") == {"p/q/q.go": (), "p/q/r.go": ()}
        (tmp_path / "deep/er/still/mod.py").unlink()
        assert index.update(["deep/er/still/mod.py"]).resolved == 1


def test_what_shadows_a_file_takes_its_place(tmp_path):
    with graph_of(
        tmp_path, {"a.py": "import b\n", "b.py": "", "x/one.ts": "import './y'\n", "x/y/index.ts": ""}
    ) as index:
        write(tmp_path, {"b/__init__.py": "", "x/y.ts": ""})
        index.update(["b/__init__.py", "x/y.ts"])
        assert index.imports("a.py") == {"b/__init__.py": ()}
        assert index.imports("x/one.ts") == {"x/y.ts": ()}


def test_a_configuration_that_changes_changes_what_imports_mean(tmp_path):
    files = {"tsconfig.json": '{"compilerOptions": {"paths": {"@/*": ["one/*"]}}}', "a.ts": "import '@/x'\n"}
    with graph_of(tmp_path, files | {"one/x.ts": "", "two/x.ts": ""}) as index:
        assert index.imports("a.ts") == {"one/x.ts": ()}
        write(tmp_path, {"tsconfig.json": files["tsconfig.json"].replace("one", "two")})
        assert index.update(["tsconfig.json"]).parsed == 0
        assert index.imports("a.ts") == {"two/x.ts": ()}
        (tmp_path / "tsconfig.json").unlink()
        index.update(["tsconfig.json"])
        assert index.imports("a.ts") == {}


def test_a_definition_that_moves_within_a_go_package_moves_the_edge(tmp_path):
    files = {
        "go.mod": "module m\n",
        "a.go": "package m\nfunc F() { G() }\n",
        "b.go": "package m\nfunc G() {}\n",
        "c.go": "package m\n",
    }
    with graph_of(tmp_path, files) as index:
        write(tmp_path, {"b.go": "package m\n", "c.go": "package m\nfunc G() {}\n"})
        assert index.update(["b.go", "c.go"]).parsed == 2
        assert index.imports("a.go") == {"c.go": ("G",)}


def test_the_next_start_reads_only_what_changed(tmp_path):
    root, state = tmp_path / "root", tmp_path / "state"
    write(root, FILES)
    age(root)
    with graph_of(root, {}, state) as index:
        expected = edges(index)
    write(root, {"d.py": "import c\n"})
    (root / "a.py").unlink()
    index, done = reopened(root, state)
    assert (done.parsed, done.unchanged, done.removed) == (1, 2, 1)
    del expected["a.py"]
    assert edges(index) == expected | {"d.py": {"c.py": ()}}
    assert index.importers("b.py") == {"c.py": ("f",)}
    index.close()


def test_an_edit_in_the_moment_of_the_reading_is_seen(tmp_path):
    root, state = tmp_path / "root", tmp_path / "state"
    with graph_of(root, FILES, state):
        pass
    before = (root / "a.py").stat()
    write(root, {"a.py": "import c\n"})  # as long, and at the same time as far as the file system can tell
    os.utime(root / "a.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    index, done = reopened(root, state)
    assert (done.parsed, index.imports("a.py")) == (1, {"c.py": ()})
    index.close()


def test_a_file_that_is_put_in_place_with_its_time_kept_is_seen(tmp_path, monkeypatch):
    now = time.time_ns
    monkeypatch.setattr(reader.time, "time_ns", lambda: now() + 3_600_000_000_000)  # all stamps have settled
    with graph_of(tmp_path, FILES) as index:
        before = (tmp_path / "a.py").stat()
        time.sleep(0.02)  # past the tick of the file system's clock
        write(tmp_path, {"a.py": "import c\n"})
        os.utime(tmp_path / "a.py", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert index.build(listed(tmp_path)).parsed == 1
        assert index.imports("a.py") == {"c.py": ()}


def test_a_file_that_was_only_touched_is_not_parsed(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        os.utime(tmp_path / "a.py", ns=(1, 1))
        done = index.update(["a.py"])
        assert (done.parsed, done.unchanged) == (0, 1)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"no database at all" * 100), id="no database"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-5000]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 9000), id="overwritten"),
        pytest.param(lambda path: execute(path, "PRAGMA user_version = 999"), id="newer"),
        pytest.param(lambda path: execute(path, "PRAGMA application_id = 7"), id="another program's"),
        pytest.param(lambda path: execute(path, "UPDATE file SET facts = 'x'"), id="facts that are none"),
        pytest.param(lambda path: execute(path, "DROP TABLE definition"), id="a table is missing"),
    ],
)
def test_a_file_that_is_no_graph_is_set_aside_and_read_anew(tmp_path, caplog, damage):
    root, state = tmp_path / "root", tmp_path / "state"
    write(root, FILES)
    age(root)
    with graph_of(root, {}, state) as index:
        expected = edges(index)
    damage(state / FILE_NAME)
    with caplog.at_level(logging.WARNING, "preloader"):
        index, _ = reopened(root, state)
    assert edges(index) == expected
    assert index.defining("f", 9)
    assert "set aside" in caplog.text
    assert (state / f"{FILE_NAME}.set-aside").exists()
    index.close()
    index, done = reopened(root, state)
    assert done.parsed == 0
    index.close()


def test_a_file_that_another_process_writes_is_left_to_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(store, "BUSY_S", 0.01)
    root, state = tmp_path / "root", tmp_path / "state"
    with graph_of(root, FILES, state) as index:
        expected = edges(index)
    other = sqlite3.connect(state / FILE_NAME)
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING, "preloader"), graph_of(root, {"d.py": ""}, state) as index:
        assert edges(index) == expected | {"d.py": {}}
    assert "no longer used" in caplog.text
    assert not (state / f"{FILE_NAME}.set-aside").exists()
    other.rollback()
    other.close()


def test_the_file_is_its_owners_alone(tmp_path):
    with graph_of(tmp_path / "root", FILES, tmp_path / "state"):
        assert {path.stat().st_mode & 0o77 for path in (tmp_path / "state").iterdir()} == {0}


def execute(path, statement):
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()


def test_without_a_usable_directory_the_graph_is_kept_in_memory(tmp_path, caplog):
    write(tmp_path, {"state/code-graph.sqlite3/x": ""})  # a directory is in the way
    with caplog.at_level(logging.WARNING, "preloader"), graph_of(tmp_path / "root", FILES, tmp_path / "state") as index:
        assert index.imports("a.py") == {"b.py": ()}
    assert "in memory" in caplog.text


def test_a_stop_leaves_what_was_read_and_the_next_call_goes_on(tmp_path):
    write(tmp_path, FILES)
    stop = threading.Event()
    index = GraphIndex(tmp_path, None, Limits())
    stop.set()
    with pytest.raises(Interrupted):
        index.build(listed(tmp_path), stop)
    index.build(listed(tmp_path))
    with graph_of(tmp_path, {}) as whole:
        assert edges(index) == edges(whole)
    index.close()


def test_files_beyond_the_limits_are_counted_and_known(tmp_path):
    files = {"a.py": "import big\n", "big.py": "x = 1\n" * 1000, "slow.py": "y = 1\n"}
    with graph_of(tmp_path, files, limits=Limits(file_bytes=100)) as index:
        done = index.update(["big.py"])
        assert (done.too_large, done.parsed) == (1, 0)
        assert index.imports("a.py") == {"big.py": ()}
        assert index.facts("big.py") is None
    with graph_of(tmp_path, {}, limits=Limits(file_seconds=-1.0)) as index:
        assert index.facts("a.py") is None
    index = GraphIndex(tmp_path, None, Limits(files=2))
    assert index.build(listed(tmp_path)).left_out == 1
    index.close()


def test_what_is_no_regular_file_beneath_the_root_is_left_out(tmp_path):
    root = tmp_path / "root"
    write(tmp_path, {"outside.py": "x = 1\n", "root/a.py": ""})
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    os.mkfifo(root / "fifo.py")
    index = GraphIndex(root, None, Limits())
    done = index.build(
        ["a.py", "link.py", "fifo.py", "../outside.py", "/etc/hosts.py", "gone.py", "nul\0.py", "\udcff.py", ""]
    )
    assert (done.parsed, done.left_out, index.paths()) == (1, 8, ["a.py"])
    index.close()


HOSTILE = {
    "parentheses.py": b"(" * 300_000,
    "brackets.py": b"[" * 50_000 + b"]" * 50_000,
    "minus.py": b"-" * 300_000,
    "if.py": b"if " * 100_000,
    "async.py": b"async def f():\n " * 10_000,
    "call.py": b"async def f():\n " + b"open(" * 50_000,
    "nul.py": bytes(range(256)) * 1_000,
    "indents.py": b"".join(b" " * depth + b"if x:\n" for depth in range(1_200)),
    "imports.py": b"import a\n" * 50_000,
    "from.py": b"from " + b"." * 300_000 + b" import x\n",
    "names.py": b"from a import " + b", ".join(b"x%d" % n for n in range(50_000)) + b"\n",
    "commas.js": b"[" + b"," * 300_000 + b"]",
    "braces.js": b"{" * 300_000,
    "template.js": b"`${" * 50_000,
    "sync.js": b"async()=>{" * 5_000 + b"aSync(" * 5_000,
    "require.js": b"require('./x')(" * 10_000,
    "generics.ts": b"a<" * 20_000,
    "tags.tsx": b"<a>" * 50_000,
    "comment.go": b"package p\n" + b"/*" * 300_000,
    "quotes.go": b"package p\n" + b'"' + b'\\"' * 300_000,
    "ticks.go": b"package p\n" + b"`" * 300_001,
    "braces.go": b"package p\nfunc f() " + b"{" * 100_000,
    "at.java": b"@" * 200_000,
    "class.java": b"class A{" * 50_000,
    "text.java": b'"""' * 100_001,
    "mod.rs": b"mod a{" * 30_000,
    "use.rs": b"use a::{" * 30_000,
    "attributes.rs": b"#[" * 100_000,
    "path.rs": b"use " + b"a::" * 100_000 + b"b;",
    "crate.rs": b"fn f() { " + b"crate::a::b(" * 10_000,
}


@pytest.mark.parametrize("visit", [lambda source: walk(source, lambda _: True), lambda source: path_to(source, 2_500)])
def test_a_walk_ends_when_nobody_waits_any_more(visit):
    stop = threading.Event()
    source = parse(b"[" * 5_000 + b"]" * 5_000, "python", Budget(60.0, stop))
    assert len(list(visit(source))) > 2_000
    stop.set()
    with pytest.raises(Interrupted):
        list(visit(source))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_read_or_given_up_but_never_crash(tmp_path, name):
    files = {name: HOSTILE[name], "a.py": "import b\n", "b.py": ""}
    with graph_of(tmp_path, files, limits=Limits(file_seconds=0.3)) as index:
        assert index.imports("a.py") == {"b.py": ()}
        assert name in index
