"""Whatever a session holds, it is followed without an error, and the features stay numbers."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.workspace.learn.features import NAMES, candidates
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.models import load_models
from preloader.workspace.learn.predictor import StepPredictor

MODELS = load_models(Path(__file__).parents[2] / "models" / "workspace" / "models.npz")
PIECES = (
    "src/a.py",
    "./b/../c.ts:12",
    "~/x/shop/d.go",
    "`e_f`",
    "cd g && ls h",
    "//",
    "@/i",
    '"./j"',
    "\n",
    "é\u0000",
    "..",
)
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=6).map(" ".join)
VALUES = TEXTS | st.integers() | st.booleans() | st.none() | st.lists(TEXTS, max_size=2)
FIELDS = ("file_path", "path", "pattern", "command", "offset", "limit", "notebook_path", "run_in_background")
TOOLS = ("Read", "Edit", "Grep", "Glob", "Bash", "Task", "")
CALLS = st.builds(
    lambda tool, arguments: Item("tool_call", id="c", tool=tool, arguments=arguments),
    st.sampled_from(TOOLS),
    st.dictionaries(st.sampled_from(FIELDS), VALUES),
)
SAID = st.builds(
    lambda kind, text: Item(kind, text=text, id="c", characters=len(text)),
    st.sampled_from(("user_text", "assistant_text", "thinking", "tool_result")),
    TEXTS,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CALLS | SAID, max_size=12))
def test_any_session_is_followed(items: list[Item]) -> None:
    predictor = StepPredictor("owner/shop", MODELS)
    for item in items:
        predictor.feed(item)
        found = candidates(predictor._memory)
        assert found.features.shape == (len(found.numbers), len(NAMES))
        assert np.isfinite(found.features).all()
        assert len(predictor.files(5)) <= 5
        assert all(0 <= one.probability <= 1 for one in predictor.calls())
    assert abs(sum(predictor.actions().values()) - 1) < 1e-9
    predictor.end()
