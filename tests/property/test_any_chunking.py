"""However a stream is cut, the same is named; and what is held meanwhile stays small."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.workspace.lexer import MAX_CARRIED, Lexer
from preloader.workspace.partial_json import PartialJson
from preloader.workspace.stream import StreamAnalyzer

PARTS = [
    "src/app.py",
    "lib\\win.ts",
    "C:\\a b\\c.py",
    "my notes.md",
    "docs/é ü.md",
    "日本/語.rs",
    'File "a b.py", line 12',
    'File "',
    '", line ',
    "(/a b/c.js:1:2)",
    "(/a b",
    "file:///x/y.mjs:3:4",
    "at com.acme.Main.run(Main.java:3)",
    "\t/x/y.go:7 +0x1d",
    "--> src/m.rs:1:2",
    "**/*.{ts,tsx}",
    "import a.b.c",
    "Class.method",
    "crate::a::b",
    "https://x.y/blob/main/z.py",
    "#L12/",
    "don't",
    "users'",
    "`",
    "'",
    '"',
    "``",
    '""',
    "\n",
    " ",
    "\t",
    "\r\n",
    ".",
    ":",
    "\\",
    "\\n",
    "\\u00e9",
    "{",
    "}",
    "[",
    "]",
    "\x1b[31m",
    "\x1b",
    "x" * 60,
    "y" * 250,
    "z/" * 500,
    "\U0001f600",
    "e\u0301",
    "\u2028",
]
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=4)), max_size=25).map("".join)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
SOURCES = st.sampled_from(["assistant", "tool_call"])


def chunks(whole, sizes):
    at = 0
    for number in range(len(whole)):
        if at >= len(whole):
            return
        size = sizes[number % len(sizes)]
        yield whole[at : at + size]
        at += size


def safe(text):
    return text.encode("utf-8", "replace").decode()


@settings(max_examples=200, deadline=None)
@given(text=TEXTS.map(safe), sizes=CUTS, source=SOURCES)
@example(text='File "x.py", line 345', sizes=[1], source="assistant")
@example(text="at f (/a b/c.js:1:2)", sizes=[1], source="assistant")
@example(text="don't read 'a b/c.py'", sizes=[1], source="assistant")
@example(text="a 'b c/d.py' e", sizes=[1], source="assistant")
@example(text="z/" * 1200 + "a.py ", sizes=[7], source="assistant")
def test_any_division_into_bytes_names_the_same(text, sizes, source):
    whole = StreamAnalyzer().feed(text, source, last=True)
    analyzer = StreamAnalyzer()
    found = [one for chunk in chunks(text.encode(), sizes) for one in analyzer.feed(chunk, source)]
    assert found + analyzer.end(source) == whole


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, sizes=CUTS)
def test_what_is_held_is_bounded(text, sizes):
    lexer = Lexer()
    for chunk in chunks(text, sizes):
        lexer.feed(chunk)
        assert lexer.carried <= MAX_CARRIED


@settings(max_examples=200, deadline=None)
@given(before=TEXTS, after=TEXTS, sizes=CUTS)
def test_a_path_on_a_line_of_its_own_is_found_exactly_once(before, after, sizes):
    text = f"{before.replace('unique', '')}\nsrc/unique.py\n{after.replace('unique', '')}"
    analyzer = StreamAnalyzer()
    found = [one for chunk in chunks(text, sizes) for one in analyzer.feed(chunk, "tool_output")]
    found += analyzer.end("tool_output")
    assert [one.text for one in found if "unique" in one.text] == ["src/unique.py"]


JSON = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, str(place)))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


@settings(max_examples=120, deadline=None)
@given(value=JSON, sizes=CUTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_partial_json_gives_every_value_whole(value, sizes, ascii_only, indent):
    parser = PartialJson()
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    pieces = [piece for chunk in chunks(text, sizes) for piece in parser.feed(chunk)] + parser.end()
    read, current = [], ""
    for piece in pieces:
        current += piece.text
        if piece.ends:
            read.append((piece.path, current))
            current = ""
    assert not parser.broken
    assert read == list(leaves(value))


@settings(max_examples=120, deadline=None)
@given(text=TEXTS, sizes=CUTS)
def test_partial_json_survives_anything_alike(text, sizes):
    def of(parts):
        parser = PartialJson()
        read = {}
        for part in parts:
            for piece in parser.feed(part):
                read.setdefault(piece.path, []).append(piece.text)
        return {path: "".join(texts) for path, texts in read.items()}, parser.broken

    assert of(chunks("{" + text, sizes)) == of(["{" + text])
