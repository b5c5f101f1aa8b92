"""The readers make something of any bytes: pieces of source, cut, doubled, shuffled, and mixed with what is none."""

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.reader import Limits, facts_of
from tests.unit import graph_workspaces
from tests.unit.graph_scene import unpacked

SAMPLES = {"py": "PYTHON", "js": "JAVASCRIPT", "ts": "JAVASCRIPT", "tsx": "JAVASCRIPT", "go": "GO", "rs": "RUST"}
SAMPLES |= {"java": "JAVA"}


def pieces(suffix):
    text = "\n".join(unpacked(getattr(graph_workspaces, SAMPLES[suffix])).values())
    word = st.sampled_from(sorted({*text.split(), *"(){}[];:,.'\"`\n#/*\\", "async ", "await ", "import ", "from "}))
    cut = st.tuples(st.integers(0, len(text)), st.integers(0, 80)).map(lambda at: text[at[0] : at[0] + at[1]])
    return st.lists(word | cut | st.binary(max_size=4).map(lambda raw: raw.decode("latin-1")), max_size=40)


@pytest.mark.parametrize("suffix", SAMPLES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
@example(data=None)
def test_any_bytes_give_facts_within_the_file(suffix, data):
    text = " ".join(data.draw(pieces(suffix))) if data is not None else ""
    facts = facts_of(f"a.{suffix}", text.encode("latin-1", "replace"), Limits())
    lines = text.count("\n") + 1
    assert all(1 <= one.line <= one.end_line <= lines + 1 for one in (*facts.definitions, *facts.imports))
    assert all(1 <= one.line <= lines for one in (*facts.blocking, *facts.helpers, *facts.calls))
    assert msgspec.json.decode(msgspec.json.encode(facts), type=FileFacts) == facts
