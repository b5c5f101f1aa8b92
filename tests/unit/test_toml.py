from typing import Literal

import msgspec
import pytest

from preloader.errors import ConfigurationError
from preloader.toml import TomlDocument, did_you_mean, dotted

TEXT = '''\
# a comment with [brackets] and "quotes
a.b = 1                           # line 2

"quoted . key" = """
[not.a.table]
no_key = 1""" # line 4
single = 'C:\\' # line 7

[table] # 9
array = [ # 10
  1, # 11

  { inline = "}]", deep.er = 2 }, [ 5,
    6 ], # 14
  1979-05-27 07:32:00, # 15
]
last = \'\'\'x\'\'\' # 17
[[list]]
n = 1 # 19
[[list]]
n = 2 # 21
[list.inner]
m = 3 # 23
[[list.more]]
o = 4 # 25
[ "odd name" . sub ]
p = true # 27
'''

PLACES = {
    ("a", "b"): 2,
    ("quoted . key",): 4,
    ("single",): 7,
    ("table",): 9,
    ("table", "array"): 10,
    ("table", "array", 0): 11,
    ("table", "array", 1): 13,
    ("table", "array", 1, "inline"): 13,
    ("table", "array", 1, "deep", "er"): 13,
    ("table", "array", 2): 13,
    ("table", "array", 2, 1): 14,
    ("table", "array", 3): 15,
    ("table", "last"): 17,
    ("list",): 18,
    ("list", 0, "n"): 19,
    ("list", 1): 20,
    ("list", 1, "n"): 21,
    ("list", 1, "inner", "m"): 23,
    ("list", 1, "more", 0, "o"): 25,
    ("odd name", "sub", "p"): 27,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("keys", PLACES)
def test_the_line_of_everything(keys, newline):
    document = TomlDocument(TEXT.replace("\n", newline), "f.toml")
    document.value(keys)  # it exists
    assert document.line(keys) == PLACES[keys]


def test_what_is_absent_stands_where_it_would():
    document = TomlDocument(TEXT, "f.toml")
    assert document.line(("table", "absent")) == 9
    assert document.line(("absent", "x")) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_key():
    assert TomlDocument("\ufeffx = 1", "f.toml").data == {"x": 1}


def test_nesting_without_end_is_refused_in_one_sentence():
    with pytest.raises(ConfigurationError, match=r"^f.toml: is not valid TOML: "):
        TomlDocument("x = " + "[" * 100_000, "f.toml")


def test_keys_are_shown_as_written():
    assert dotted(("components", "tts", "requires", 1)) == "components.tts.requires[1]"


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("stesp", ["steps", "policy"], "did you mean 'steps'?"),
        ("x", ["steps", "policy"], "known are steps, policy"),
        ("x", [], "none are known"),
    ],
)
def test_what_would_be_right(name, known, words):
    assert did_you_mean(name, known) == words


class Choosing(msgspec.Struct, frozen=True):
    one: Literal["a", "b"] = "a"
    maybe: Literal["a"] | None = None
    several: tuple[Literal["fp16", "fp32"], ...] = ()


class Nested(msgspec.Struct, frozen=True):
    deep: Choosing = Choosing()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('[deep]\none = "c"', "x.toml:2, field 'deep.one': must be 'a' or 'b', not 'c'"),
        ('[deep]\nmaybe = "c"', "x.toml:2, field 'deep.maybe': must be 'a', not 'c'"),
        ('[deep]\nseveral = ["fp16", "fp8"]', "x.toml:2, field 'deep.several[1]': must be 'fp16' or 'fp32', not 'fp8'"),
    ],
)
def test_of_a_choice_all_that_is_allowed_is_named(written, message):
    with pytest.raises(ConfigurationError) as refusal:
        TomlDocument(written, "x.toml").convert((), Nested)
    assert str(refusal.value) == message
