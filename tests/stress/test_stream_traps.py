"""Inputs made to trap: were anything worse than linear on one of them, this would not end within the test's timeout."""

import json

import pytest

from preloader.workspace.lexer import MAX_CARRIED, Lexer
from preloader.workspace.mentions import Mention
from preloader.workspace.path_table import PathTable
from preloader.workspace.resolve import Resolver
from preloader.workspace.stream import StreamAnalyzer

LENGTH = 30_000
UNITS = [
    *"a/.[({*:\\-@'`\"#$\x1b\n\ud800",
    *(
        "a.",
        "a/",
        "[a",
        "(/",
        "(/a ",
        '"a ',
        "`a",
        "a'",
        " 'a",
        'File "',
        'File "a", line ',
        "\"'`",
        "\"' `a/b.py ",
        "{a,",
    ),
    *(
        "*a",
        "**/",
        "a.py:1",
        "a::",
        "\\a",
        "\\n",
        "\x1b[",
        "\x1b[1;",
        "a-1-",
        "a.b-",
        "#L",
        "a#L1",
        "a://",
        "a://b/blob/",
    ),
    *(
        "[" + "a" * 63,
        "a.py,",
        "a.b(C.java:1",
        "1/",
        "é/ü",
        "x-y.z-",
        "''",
        '"' + "a b " * 63 + 'a.py" ',
        "d(a/b,'c/d.js')};",
    ),
]


@pytest.mark.parametrize("unit", UNITS)
def test_what_follows_a_trap_is_found(unit):
    text = unit * (LENGTH // len(unit)) + "\n\nsrc/last.py\n"
    mentions = StreamAnalyzer().feed(text, "tool_output", last=True)
    assert mentions[-1].text == "src/last.py"


@pytest.mark.parametrize("unit", ["\\", '"', "\ud83d", "é\ude00", "a" * 300, "[{", "\n"])
def test_what_follows_a_trap_in_json_is_found(unit):
    hostile = unit * (LENGTH // len(unit))
    text = json.dumps({hostile[:1_000]: hostile, "path": "src/last.py"})
    mentions = StreamAnalyzer().feed(text, "tool_call", last=True)
    assert mentions[-1].text == "src/last.py"


@pytest.mark.parametrize("unit", ["a", "/", '"a', "(/a", "a b,", "a/b.py:1:", "[", "`"])
def test_a_line_of_ten_megabytes(unit):
    lexer = Lexer()
    chunk = (unit * 65_536)[:65_536]
    for _ in range(10_000_000 // len(chunk) if unit == "a" else 2):
        lexer.feed(chunk)
        assert lexer.carried <= MAX_CARRIED
    assert [one.text for one in lexer.feed("\nsrc/last.py ", final=True)][-1] == "src/last.py"


@pytest.mark.parametrize(
    "text",
    [
        "**/" * 170,
        "*a" * 250 + "b",
        "{" + "a," * 90 + "}" + "{b,c}" * 60,
        "[" * 500,
        "**/*a" * 100,
        "?" * 500,
        "{a,b}" * 100,
    ],
)
def test_patterns_made_to_trap(text):
    table = PathTable(["a" * 200 + "/" + "a" * 200, *("a/" * depth + "a.py" for depth in range(60))])
    resolution = Resolver(table).resolve(Mention("glob", text, "user"))
    assert set(resolution.paths) <= set(table)


@pytest.mark.parametrize(
    "text", ["a/" * 255, "a " * 255, "../" * 170, "/./" * 170, "a." * 255, "a::" * 170, "a.b " * 120]
)
@pytest.mark.parametrize("kind", ["path", "module", "symbol"])
def test_names_made_to_trap(text, kind):
    table = PathTable(f"d{number}/a" for number in range(2_000))
    resolution = Resolver(table).resolve(Mention(kind, text, "user"))
    assert set(resolution.paths) <= set(table)
