"""What saves the long way of looking at a word finds what the long way does."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.workspace import words
from preloader.workspace.file_names import may_hold_file_name

PARTS = ["src/", "a", "app.py", ".py", ".", "/", "-", "_", ":", "12", ":3:4", ",", ")", "]", "é", "README", "go.mod"]
PARTS += ["../", ".env", "self", "x.y.z", "#L7", "-12-", "@", "(", "$", "5", "PY", "json5", "Makefile", "K"]
WORDS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join)
FORMS = st.sampled_from(["bare", "quoted", "code"])


@settings(max_examples=600, deadline=None)
@given(WORDS, FORMS)
def test_a_plain_word_is_the_one_path_that_is_found_in_it(word, form):
    match = words._PLAIN.fullmatch(word)
    plain = words._of_plain(match, form) if match else None
    assert plain is None or words._of_runs(word, form) == [plain]


@settings(max_examples=600, deadline=None)
@given(WORDS, FORMS)
@example("a:12README", "bare")
@example(":3:4.pya", "code")
def test_a_word_without_telling_parts_names_no_file(word, form):
    has_slash = "/" in word or "\\" in word
    if not (has_slash or may_hold_file_name(word) or (form == "code" and words._BEGINS_WITH_DOT.search(word))):
        assert words._of_runs(word, form) == []
