"""Random TOML texts, in every style of writing: the line of each key is the one that it is written on."""

import itertools
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from preloader.toml_lines import lines_of

SCALARS = st.sampled_from(
    [
        "1",
        "1_000.5e-3",
        "inf",
        "true",
        "1979-05-27 07:32:00",
        "07:32:00",
        '"plain"',
        '"# = ] } , [ \\" \\\\"',
        "'C:\\'",
        '"""one\n[two] # = \\"""\n"quoted" ""three"""""',
        "'''\nit's [raw] \\''''",
        '""',
        "''",
        '""""""',
    ]
)
GAPS = st.sampled_from(["", " ", "\n", " # ] } = \" '''\n", "\n\n  "])
SPACES = st.sampled_from(["", " ", "\t "])


class Keys:
    """Gives each key a name that occurs nowhere else in the text."""

    def __init__(self, draw):
        self._draw = draw
        self._numbers = itertools.count()

    def new(self):
        number = next(self._numbers)
        style = self._draw(st.sampled_from(["k{}x", "'k{}x'", '"k{}x"', '"k{}x\\u0041"', "'k{}x y.z'"]))
        return style.format(number)

    def dotted(self):
        parts = [self.new() for _ in range(self._draw(st.integers(1, 3)))]
        return f"{self._draw(SPACES)}.{self._draw(SPACES)}".join(parts)


def value(draw, keys, depth, gaps=GAPS):
    kind = draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(SCALARS)
    count = draw(st.integers(0, 3))
    if kind == "table":
        return "{" + ",".join(f" {pair(draw, keys, depth - 1, SPACES)} " for _ in range(count)) + "}"
    items = [draw(gaps) + value(draw, keys, depth - 1, gaps) + draw(gaps) for _ in range(count)]
    return "[" + ",".join(items) + ("," if items and draw(st.booleans()) else "") + draw(gaps) + "]"


def pair(draw, keys, depth, gaps=GAPS):
    return f"{keys.dotted()}{draw(SPACES)}={draw(SPACES)}{value(draw, keys, depth, gaps)}"


@st.composite
def texts(draw):
    keys = Keys(draw)
    lines = [pair(draw, keys, 2) for _ in range(draw(st.integers(0, 3)))]
    for _ in range(draw(st.integers(0, 3))):
        path = keys.dotted()
        for _ in range(draw(st.integers(1, 2))):
            header = f"[[{path}]]"
            lines += [header if draw(st.booleans()) else f"[{keys.dotted()}]", pair(draw, keys, 2)]
            if lines[-2] == header and draw(st.booleans()):
                lines += [f"[{path}.{keys.new()}]", pair(draw, keys, 1)]
    return "\n".join(line + draw(st.sampled_from(["", " # = [", "\n"])) for line in lines) + "\n"


def places(data, path=()):
    for key, inner in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@given(texts())
def test_each_key_is_found_on_its_line(text):
    data, lines, written = tomllib.loads(text), lines_of(text), text.split("\n")
    for path in places(data):
        if path in lines and isinstance(path[-1], str):
            name = path[-1].partition("x")[0] + "x"
            assert name in written[lines[path] - 1]
    everything = set(places(data))
    leaves = {path for path in everything if not _is_implicit(data, path)}
    assert leaves <= lines.keys() <= everything | {()}


def _is_implicit(data, path):
    """Return whether ``path`` is a table that may have come about by the mention of another inside of it."""
    for key in path:
        data = data[key]
    return isinstance(data, dict)
