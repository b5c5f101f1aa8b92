"""What words, calls and outputs name."""

import msgspec
import pytest

from preloader.workspace.mentions import SOURCES
from preloader.workspace.stream import MAX_STREAMS, StreamAnalyzer


def named(text, source="assistant"):
    return [(one.kind, one.text) for one in StreamAnalyzer().feed(text, source, last=True)]


def paths(text, source="tool_output"):
    mentions = StreamAnalyzer().feed(text, source, last=True)
    return [one.text for one in mentions if one.kind == "path"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("I will look at src/app.py next.", "src/app.py"),
        ("(see src/app.py)", "src/app.py"),
        ("**src/app.py**:", "src/app.py"),
        ("[the app](src/app.py)", "src/app.py"),
        ("./src/app.py", "src/app.py"),
        ("/srv/project/src/app.py", "/srv/project/src/app.py"),
        ("~/notes/plan.md", "~/notes/plan.md"),
        ("../lib/util.ts", "../lib/util.ts"),
        ("app.py", "app.py"),
        ("the file's app.py's end", "app.py"),
        (".gitignore", ".gitignore"),
        (".env.example", ".env.example"),
        (".github/workflows/ci.yml", ".github/workflows/ci.yml"),
        ("@src/app.py", "src/app.py"),
        ("app/[slug]/(group)/page.tsx", "app/[slug]/(group)/page.tsx"),
        ("--config=conf/app.toml", "conf/app.toml"),
        ("'src/app.py'", "src/app.py"),
        ("open('src/app.py')", "src/app.py"),
        ("f'src/app.py'", "src/app.py"),
        ("import x from './lib/b';", "lib/b"),
        ('"my docs/plan b.md"', "my docs/plan b.md"),
        ("`my notes.md`", "my notes.md"),
        ("'C:\\My Files\\a b.py'", "C:/My Files/a b.py"),
        ("C:\\work\\app.py", "C:/work/app.py"),
        ("src\\lib\\app.py", "src/lib/app.py"),
        ('"C:\\\\work\\\\app.py"', "C:/work/app.py"),
        ("`Makefile`", "Makefile"),
        ("`cat src/app.py`", "src/app.py"),
        ("`edit src/app.py`", "src/app.py"),
        ("src/é/ü.py", "src/é/ü.py"),
        ("日本語/ファイル.py", "日本語/ファイル.py"),
        ("\x1b[31msrc/app.py\x1b[0m", "src/app.py"),
        ("https://github.com/o/r/blob/main/src/app.py#L3", "src/app.py"),
        ("file:///srv/app.mjs", "/srv/app.mjs"),
        ("src//lib///app.py", "src/lib/app.py"),
        ("├── src/app.py", "src/app.py"),
        (" M src/app.py", "src/app.py"),
        ("+++ b/src/app.py", "b/src/app.py"),
        (" src/app.py | 12 ++--", "src/app.py"),
        ("tests/test_a.py::TestA::test_b PASSED", "tests/test_a.py"),
    ],
)
def test_paths(text, path):
    assert paths(text) == [path]


@pytest.mark.parametrize(
    ("text", "path", "line", "column"),
    [
        ("src/a.py:12", "src/a.py", 12, None),
        ("src/a.py:12:5: error", "src/a.py", 12, 5),
        ("src/a.py:12:def f():", "src/a.py", 12, None),
        ("src/a.py:12-20", "src/a.py", 12, None),
        ("src/a.py-12-def f():", "src/a.py", 12, None),
        ("src/a.ts(12,5): error TS2304", "src/a.ts", 12, 5),
        ("src/a.py#L12-L20", "src/a.py", 12, None),
        ('"my docs/plan b.md:7"', "my docs/plan b.md", 7, None),
        ('  File "/srv/my app/main.py", line 12, in run', "/srv/my app/main.py", 12, None),
        ("    at run (/srv/My App/main.js:12:5)", "/srv/My App/main.js", 12, 5),
        ("    at async file:///srv/main.mjs:12:5", "/srv/main.mjs", 12, 5),
        ("    at f (webpack-internal:///./src/main.ts:12:5)", "./src/main.ts"[2:], 12, 5),
        ("    at Object.<anonymous> (C:\\app\\main.js:12:5)", "C:/app/main.js", 12, 5),
        ("\t/srv/app/main.go:12 +0x1d", "/srv/app/main.go", 12, None),
        ("   --> src/main.rs:12:5", "src/main.rs", 12, 5),
        ("thread 'main' panicked at src/main.rs:12:5:", "src/main.rs", 12, 5),
        ("             at ./src/main.rs:12:5", "src/main.rs", 12, 5),
        ("\tat com.acme.web.Main$1.run(Main.java:12)", "com/acme/web/Main.java", 12, None),
        ("\tat app//com.acme.Main.run(Main.kt:12)", "com/acme/Main.kt", 12, None),
    ],
)
def test_places(text, path, line, column):
    (one,) = StreamAnalyzer().feed(text + "\n", "tool_output", last=True)
    assert (one.kind, one.text, one.line, one.column) == ("path", path, line, column)


@pytest.mark.parametrize(
    "text",
    [
        '  File "a/b.py", line 1, in f',
        "at f (a/b.js:1:2)",
        "at f (/a/b.js:1:2)",
        "at a.B.c(B.java:1)",
        "\t/a/b.go:1 +0x0",
        "at ./a/b.rs:1:1",
    ],
)
def test_frames_are_marked_as_such(text):
    (one,) = StreamAnalyzer().feed(text, "tool_output", last=True)
    assert one.form == "frame"


@pytest.mark.parametrize(
    "text",
    [
        "and/or, either/or, I/O, 1/2, 24/7, 2026/01/02, 3.14, 1.2.3, v2.0",
        "application/json and text/plain",
        "https://example.com/a/b.html and git@github.com:o/r.git",
        "console.log(x); items.map(f); process.env.HOME",
        "e.g. this, i.e. that... and so on. Then?",
        "a * b / c ** d /* comment */ // and",
        "x" * 5_000,
        "/" * 5_000,
        "a/" * 5_000,
        '  File "<stdin>", line 1, in <module>',
    ],
)
def test_no_paths(text):
    assert paths(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src/**/*.ts", [("glob", "src/**/*.ts")]),
        ("`*.{ts,tsx}`", [("glob", "*.{ts,tsx}")]),
        ("test_*.py", [("glob", "test_*.py")]),
        ("`test_`", [("symbol", "test_")]),
        ("tests/test_*.py", [("glob", "tests/test_*.py")]),
        ("*.py", [("glob", "*.py")]),
        ("import preloader.history.lines", [("module", "preloader.history.lines")]),
        ("from preloader.history import x", [("module", "preloader.history")]),
        ("os.path", []),
        ("use crate::walk::path;", [("module", "crate::walk::path")]),
        ("import com.acme.web.Main;", [("module", "com.acme.web.Main")]),
        ("`Resolver.resolve`", [("symbol", "Resolver.resolve")]),
        ("`resolve()`", [("symbol", "resolve")]),
        ("Resolver.resolve is slow", [("symbol", "Resolver.resolve")]),
        ("`Foo::bar`", [("symbol", "Foo::bar")]),
        ("`self.table`", [("symbol", "self.table")]),
        ("resolve the name", []),
    ],
)
def test_patterns_modules_and_symbols(text, expected):
    assert named(text) == expected


def test_offsets_point_at_what_was_named():
    text = 'Über src/é.py, "b c/d.py" and `e.py:3`; File "f g.py", line 2\n at (/h i/j.js:1:2)\nat k.L.m(L.java:3)'
    for one in StreamAnalyzer().feed(text, "user", last=True):
        assert text[one.offset :].startswith(("src/é.py", "b c/d.py", "e.py", "f g.py", "/h i/j.js", "k.L.m"))


def test_a_word_is_named_as_soon_as_it_cannot_go_on():
    analyzer = StreamAnalyzer()
    assert analyzer.feed("look at src/app.p", "assistant") == []
    assert analyzer.feed("y", "assistant") == []
    assert [one.text for one in analyzer.feed(" ", "assistant")] == ["src/app.py"]
    assert analyzer.feed("and `my notes.m", "assistant") == []
    assert [one.text for one in analyzer.feed("d`", "assistant")] == ["my notes.md"]
    assert analyzer.end("assistant") == []


def test_streams_are_apart():
    analyzer = StreamAnalyzer()
    assert analyzer.feed("src/a", "assistant") == []
    assert analyzer.feed("src/b", "thinking") == []
    assert analyzer.feed("src/c", "assistant", stream="2") == []
    assert [one.text for one in analyzer.feed(".py ", "assistant")] == ["src/a.py"]
    assert [one.text for one in analyzer.feed(".py ", "thinking")] == ["src/b.py"]
    assert [one.text for one in analyzer.feed(".py ", "assistant", stream="2")] == ["src/c.py"]


def test_every_source_is_noted():
    for source in SOURCES:
        text = '{"command": "cat src/a.py"}' if source == "tool_call" else "cat src/a.py"
        (one,) = StreamAnalyzer().feed(text, source, last=True)
        assert (one.source, one.field) == (source, "command" if source == "tool_call" else None)


def test_the_values_of_an_unfinished_call_are_usable():
    analyzer = StreamAnalyzer()
    assert analyzer.feed('{"file_path": "src/my ap', "tool_call", stream="1") == []
    (one,) = analyzer.feed('p.py", "offset": 3, "old_string": "import lib.util.x\\nopen(', "tool_call", stream="1")[:1]
    assert (one.kind, one.text, one.form, one.field) == ("path", "src/my app.py", "argument", "file_path")
    found = analyzer.feed("'src/b.py')", "tool_call", stream="1")
    assert [(one.kind, one.text, one.field) for one in found] == [
        ("path", "src/b.py", "old_string"),
    ]


def test_whole_calls():
    def fields(arguments):
        return [(one.kind, one.text, one.field) for one in StreamAnalyzer().feed_call(arguments)]

    assert fields({"path": "src"}) == [("path", "src", "path")]
    assert fields({"path": "src/*.py"}) == [("glob", "src/*.py", "path")]
    assert fields({"paths": ["a b", "c"]}) == [("path", "a b", "paths.0"), ("path", "c", "paths.1")]
    assert fields({"edits": [{"path": "a"}, {"file": "b"}]}) == [
        ("path", "a", "edits.0.path"),
        ("path", "b", "edits.1.file"),
    ]
    assert fields({"command": "cat src/a.py | head", "timeout": 3}) == [("path", "src/a.py", "command")]
    assert fields({"path": ""}) == fields({"path": "x" * 600}) == fields({"file": "https://example.com/x"}) == []
    assert fields("*** Begin Patch\n*** Update File: src/a.py\n") == [("path", "src/a.py", None)]


def test_what_is_no_json_stops_a_call_and_nothing_else():
    analyzer = StreamAnalyzer()
    assert analyzer.feed('{"path": ]"src/a.py"}', "tool_call", last=True) == []
    assert analyzer.feed("[" * 500 + '"src/a.py"', "tool_call", last=True) == []
    assert [one.text for one in analyzer.feed_call({"path": "src/a.py"})] == ["src/a.py"]


def test_the_longest_unfed_stream_ends_when_there_are_too_many():
    analyzer = StreamAnalyzer()
    for number in range(MAX_STREAMS):
        assert analyzer.feed(f"src/f{number}.py", "tool_output", stream=str(number)) == []
    assert [one.text for one in analyzer.feed("x", "assistant")] == ["src/f0.py"]


def test_what_is_forgotten_is_not_named():
    analyzer = StreamAnalyzer()
    analyzer.feed("src/a.p", "assistant")
    analyzer.forget()
    assert [one.text for one in analyzer.feed("y src/b.py", "assistant", last=True)] == ["src/b.py"]


def test_a_mention_survives_json():
    (one,) = StreamAnalyzer().feed("src/a.py:3", "user", last=True)
    assert msgspec.json.decode(msgspec.json.encode(one), type=type(one)) == one


def test_bytes_that_are_no_utf8_do_no_harm():
    analyzer = StreamAnalyzer()
    assert [one.text for one in analyzer.feed(b"\xff\xfe src/a.py \xc3", "tool_output")] == ["src/a.py"]
    assert analyzer.feed("x", "tool_output", last=True) == []


def test_a_line_anchor_that_belongs_to_nothing_names_nothing():
    assert named("see #L12/app.py and src/app.py#L12") == [("path", "src/app.py")]
