"""Which files of a workspace mentions mean."""

import pytest

from preloader.workspace.mentions import Mention
from preloader.workspace.path_table import PathTable
from preloader.workspace.resolve import Resolver

PATHS = (
    "README.md",
    "preloader/history/lines.py",
    "preloader/history/__init__.py",
    "preloader/cache/store.py",
    "preloader/cache/__init__.py",
    "web/src/index.ts",
    "web/src/components/ShareDialog.tsx",
    "web/src/lib/index.ts",
    "web/src/lib/b.ts",
    "server/src/index.ts",
    "server/src/lib/b.ts",
    "java/src/main/java/com/acme/Main.java",
    "cmd/entire/cli/main.go",
    "rust/src/walk/path.rs",
    "docs/my notes.md",
    "tests/unit/test_lines.py",
)


@pytest.fixture
def resolver():
    return Resolver(PathTable(PATHS), root="/home/u/project")


def found(resolver, text, kind="path"):
    resolution = resolver.resolve(Mention(kind, text, "assistant"))
    return resolution.match, resolution.paths


@pytest.mark.parametrize(
    ("text", "match", "path"),
    [
        ("preloader/cache/store.py", "exact", "preloader/cache/store.py"),
        ("/home/u/project/preloader/cache/store.py", "exact", "preloader/cache/store.py"),
        ("preloader/history/../cache/store.py", "exact", "preloader/cache/store.py"),
        ("/Users/else/code/project/preloader/cache/store.py", "inner", "preloader/cache/store.py"),
        ("C:/work/project/preloader/cache/store.py", "inner", "preloader/cache/store.py"),
        ("b/preloader/cache/store.py", "inner", "preloader/cache/store.py"),
        ("github.com/acme/project/cmd/entire/cli/main.go", "inner", "cmd/entire/cli/main.go"),
        ("cache/store.py", "suffix", "preloader/cache/store.py"),
        (".../cache/store.py", "suffix", "preloader/cache/store.py"),
        ("com/acme/Main.java", "suffix", "java/src/main/java/com/acme/Main.java"),
        ("store.py", "name", "preloader/cache/store.py"),
        ("elsewhere/store.py", "name", "preloader/cache/store.py"),
        ("docs/my notes.md", "exact", "docs/my notes.md"),
        ("my notes.md", "name", "docs/my notes.md"),
        ("terraform apply docs/my notes.md", "exact", "docs/my notes.md"),
        ("@/components/ShareDialog", "suffix", "web/src/components/ShareDialog.tsx"),
        ("ShareDialog", "suffix", "web/src/components/ShareDialog.tsx"),
        ("preloader/history", "suffix", "preloader/history/__init__.py"),
    ],
)
def test_paths(resolver, text, match, path):
    how, paths = found(resolver, text)
    assert (how, paths[0]) == (match, path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("preloader.history.lines", "preloader/history/lines.py"),
        ("preloader.history.lines.records", "preloader/history/lines.py"),
        ("preloader.history", "preloader/history/__init__.py"),
        ("crate::walk::path", "rust/src/walk/path.rs"),
        ("com.acme.Main", "java/src/main/java/com/acme/Main.java"),
    ],
)
def test_modules(resolver, text, path):
    assert found(resolver, text, "module") == ("module", (path,))


def test_symbols_suggest_files_of_their_name(resolver):
    assert found(resolver, "ShareDialog", "symbol") == ("symbol", ("web/src/components/ShareDialog.tsx",))
    assert found(resolver, "TestLines.test_a", "symbol") == ("symbol", ("tests/unit/test_lines.py",))


def test_directories_give_the_files_right_in_them(resolver):
    assert found(resolver, "web/src/lib/") == ("directory", ("web/src/lib/b.ts", "web/src/lib/index.ts"))
    assert found(resolver, "src/lib/") == ("none", ())


def test_patterns(resolver):
    assert set(found(resolver, "web/**/*.{ts,tsx}", "glob")[1]) == {path for path in PATHS if path.startswith("web/")}
    assert found(resolver, "*.go", "glob") == ("glob", ("cmd/entire/cli/main.go",))
    assert found(resolver, "preloader/*.py", "glob") == ("none", ())
    assert found(resolver, "**/test_*.py", "glob")[1] == ("tests/unit/test_lines.py",)


def test_the_path_used_last_is_meant_first(resolver):
    assert set(found(resolver, "index.ts")[1]) == {path for path in PATHS if path.endswith("/index.ts")}
    resolver.recency.touch("web/src/index.ts")
    resolver.recency.touch("server/src/index.ts")
    assert found(resolver, "index.ts")[1][:2] == ("server/src/index.ts", "web/src/index.ts")
    assert found(resolver, "src/index.ts")[1][:2] == ("server/src/index.ts", "web/src/index.ts")


def test_what_lies_near_the_files_used_last_is_meant_before_what_does_not(resolver):
    resolver.recency.touch("web/src/components/ShareDialog.tsx")
    assert found(resolver, "b.ts")[1][0] == "web/src/lib/b.ts"
    resolver.recency.touch("server/src/index.ts")
    assert found(resolver, "b.ts")[1][0] == "server/src/lib/b.ts"


def test_a_path_from_the_root_may_be_one_from_where_the_work_is():
    resolver = Resolver(PathTable(["README.md", "web/README.md", "web/src/app.ts", "server/README.md"]))
    assert found(resolver, "README.md") == ("exact", ("README.md",))
    resolver.recency.touch("web/src/app.ts")
    assert found(resolver, "README.md") == ("exact", ("README.md", "web/README.md"))


def test_a_relative_import_is_read_from_the_files_used_last(resolver):
    assert found(resolver, "../lib/b") == ("suffix", ("server/src/lib/b.ts", "web/src/lib/b.ts"))
    resolver.recency.touch("web/src/components/ShareDialog.tsx")
    assert found(resolver, "../lib/b") == ("relative", ("web/src/lib/b.ts",))


def test_the_path_used_last_goes_before_what_lies_nearer():
    resolver = Resolver(PathTable(PATHS))
    resolver.recency.touch("web/src/index.ts")
    resolver.recency.touch("server/src/lib/b.ts")
    assert found(resolver, "index.ts")[1][:2] == ("web/src/index.ts", "server/src/index.ts")


def test_more_parts_that_agree_go_before_recency():
    resolver = Resolver(PathTable(["tools/lib/b.ts", "web/src/lib/b.ts"]))
    resolver.recency.touch("tools/lib/b.ts")
    assert found(resolver, "x/src/lib/b.ts") == ("suffix", ("web/src/lib/b.ts", "tools/lib/b.ts"))


def test_more_of_the_path_that_agrees_goes_before_recency(resolver):
    resolver.recency.touch("server/src/lib/b.ts")
    assert found(resolver, "project/web/src/lib/b.ts")[1] == ("web/src/lib/b.ts",)
    assert found(resolver, "x/web/lib/b.ts")[1][0] == "server/src/lib/b.ts"


def test_nothing_is_invented(resolver):
    for text in ("nowhere.py", "/", "..", "../../..", "", "a" * 600, "/" * 500, "x/" * 300 + "y.py", " ", "a b c"):
        assert found(resolver, text) == ("none", ())


def test_of_very_many_candidates_the_one_used_last_is_still_found():
    paths = [f"pkg{number}/index.ts" for number in range(5_000)]
    resolver = Resolver(PathTable(paths))
    resolver.recency.touch("pkg4321/index.ts")
    resolution = resolver.path("index.ts")
    assert (resolution.paths[0], resolution.total, len(resolution.paths)) == ("pkg4321/index.ts", 5_000, 8)


def test_recency_is_bounded_and_forgets_what_is_gone():
    resolver = Resolver(PathTable(["a.py"]))
    for number in range(3_000):
        resolver.recency.touch(f"f{number}.py")
    resolver.recency.touch("a.py")
    assert resolver.recency.tick("f10.py") == 0 < resolver.recency.tick("f2999.py")
    resolver.recency.keep(resolver.table)
    assert resolver.recency.latest() == ["a.py"]
