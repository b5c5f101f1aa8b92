import asyncio
import functools
import inspect
from pathlib import Path

import pytest

from preloader.components.registry import ComponentRegistry
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.ports import Cost

A = "[components.a]\nloader = 'simulated'\nbytes = 1\nload_s = 1\n"  # lines 1 to 4
B = "[components.b]\nloader = 'simulated'\nbytes = 1\nload_s = 1\n"  # with A before it: lines 5 (6 …) on
C = "[components.c]\nloader = 'simulated'\nbytes = 1\nload_s = 1\n"

LOADERS = (
    "'simulated', 'python:package.module:function', 'file:path', 'safetensors:path', 'onnx:path', 'coreml:path', "
    "'http:https://host', 'mcp:https://host/path', 'mcp' or 'subprocess'"
)

BAD_FILES = {
    "no TOML at all": ("[components.a\n", 1, "", "is not valid TOML: Expected ']' at the end of a table declaration"),
    "one table twice": (A + A, 5, "", "is not valid TOML: Cannot declare ('components', 'a') twice"),
    "empty": ("", 1, "components", "is missing"),
    "another top-level table": ("[component.a]\nx = 1", 1, "component", "is unknown; did you mean 'components'?"),
    "components is no table": ("components = 3", 1, "components", "must be table, not 3"),
    "a component is no table": ("[components]\na = 1\n", 2, "components.a", "must be a table, [components.NAME]"),
    "an empty name": (A.replace(".a", ".''"), 1, "components..name", "must be a name that is not empty, not ''"),
    "unknown key": (A + "byte = 3", 5, "components.a.byte", "is unknown; did you mean 'bytes'?"),
    "unknown key, unlike any": (A + "size_mb = 3", 5, "components.a.size_mb", "is unknown; known are loader, bytes, "),
    "unknown key, inline": (
        "[components]\na = { loader = 'simulated', bytes = 1,\tload_s = 1, prioriti = 2 }",
        2,
        "components.a.prioriti",
        "is unknown; did you mean 'priority'?",
    ),
    "no loader": ("[components.a]\nbytes = 1\nload_s = 1", 1, "components.a.loader", "is missing"),
    "no bytes": (
        A.replace("bytes = 1\n", ""),
        1,
        "components.a.bytes",
        "is missing: of 'simulated' it cannot be told without loading",
    ),
    "no load_s": (A.replace("load_s = 1\n", ""), 1, "components.a.load_s", "is missing: of 'simulated' it cannot"),
    "bytes as words": (
        A.replace("bytes = 1", "bytes = '210 MB'"),
        3,
        "components.a.bytes",
        "must be int, not '210 MB'",
    ),
    "bytes as a float": (
        A.replace("bytes = 1", "bytes = 2.1e8"),
        3,
        "components.a.bytes",
        "must be int, not 210000000.0",
    ),
    "bytes as a boolean": (A.replace("bytes = 1", "bytes = true"), 3, "components.a.bytes", "must be int, not True"),
    "negative bytes": (
        A.replace("bytes = 1", "bytes = -1"),
        3,
        "components.a.bytes",
        "must be a whole number of at least 0, not -1",
    ),
    "negative time": (
        A.replace("load_s = 1", "load_s = -0.5"),
        4,
        "components.a.load_s",
        "must be a number of seconds of at least 0, not -0.5",
    ),
    "no time": (
        A.replace("load_s = 1", "load_s = nan"),
        4,
        "components.a.load_s",
        "must be a number of seconds of at least 0, not nan",
    ),
    "endless time": (
        A.replace("load_s = 1", "load_s = inf"),
        4,
        "components.a.load_s",
        "must be a number of seconds of at least 0, not inf",
    ),
    "no priority": (A + "priority = 0", 5, "components.a.priority", "must be a number above 0, not 0.0"),
    "requires as a word": (A + "requires = 'b'", 5, "components.a.requires", "must be array, not 'b'"),
    "requires a number": (A + B + "requires = [\n'a',\n3,\n]", 11, "components.b.requires[1]", "must be str, not 3"),
    "requires nothing": (
        A + "requires = ['']",
        5,
        "components.a.requires",
        "must be a list of component names, not ('',)",
    ),
    "requires what is not there": (
        A + B + "requires = [\n 'a',\n 'audio_bas',\n]\n" + C.replace(".c", ".audio_base"),
        11,
        "components.b.requires[1]",
        "there is no component 'audio_bas'; did you mean 'audio_base'?",
    ),
    "conflicts with what is not there": (
        A + "conflicts = ['z']",
        5,
        "components.a.conflicts[0]",
        "there is no component 'z'; none are known",
    ),
    "requires itself": (
        A + "requires = ['a']",
        5,
        "components.a.requires[0]",
        "components require each other in a circle: a → a",
    ),
    "a circle of two": (
        A + "requires = ['b']\n" + B + "requires = ['a']\n",
        5,
        "components.a.requires[0]",
        "components require each other in a circle: a → b → a",
    ),
    "a circle of three, entered from outside": (
        A + "requires = ['b']\n" + B + "requires = ['c']\n" + C + "requires = [\n'd', 'b']\n" + C.replace(".c", ".d"),
        10,
        "components.b.requires[0]",
        "components require each other in a circle: b → c → b",
    ),
    "conflicts with itself": (A + "conflicts = ['a']", 5, "components.a.conflicts[0]", "'a' conflicts with itself"),
    "requires what it conflicts with": (
        A + "requires = ['b']\nconflicts = ['b']\n" + B,
        6,
        "components.a.conflicts[0]",
        "'a' requires what it conflicts with: a → b",
    ),
    "requires what it conflicts with, transitively": (
        A + "requires = ['b']\nconflicts = ['c']\n" + B + "requires = ['c']\n" + C,
        6,
        "components.a.conflicts[0]",
        "'a' requires what it conflicts with: a → b → c",
    ),
    "conflicts with what requires it": (
        A + "requires = ['b']\n" + B + "requires = ['c']\n" + C + "conflicts = ['a']\n",
        15,
        "components.c.conflicts[0]",
        "'c' conflicts with what requires it: a → b → c",
    ),
    "requires two that conflict": (
        A + "requires = ['b', 'c']\n" + B + "conflicts = ['c']\n" + C,
        5,
        "components.a.requires",
        "'b' and 'c' conflict, and both are required: a → b and a → c",
    ),
    "unknown loader": (
        A.replace("simulated", "simulate"),
        2,
        "components.a.loader",
        f"must be {LOADERS}, not 'simulate'",
    ),
    "a simulated target": (A.replace("simulated", "simulated:x"), 2, "components.a.loader", f"must be {LOADERS}, not"),
    "python without function": (
        A.replace("simulated", "python:voices"),
        2,
        "components.a.loader",
        f"must be {LOADERS}, not",
    ),
    "python in dashes": (
        A.replace("simulated", "python:my-app:load"),
        2,
        "components.a.loader",
        f"must be {LOADERS}, not",
    ),
    "a file outside": (
        A.replace("simulated", "file:../x"),
        2,
        "components.a.loader",
        "'../x' is no file name here: it must",
    ),
    "an absolute file": (
        A.replace("simulated", "file:/etc/passwd"),
        2,
        "components.a.loader",
        "'/etc/passwd' is no file name",
    ),
    "a file without a name": (A.replace("simulated", "file:"), 2, "components.a.loader", "'' is no file name here"),
    "an absent file without bytes": (
        "[components.a]\nloader = 'file:absent.bin'",
        2,
        "components.a.loader",
        "'absent.bin' cannot be looked at (No such file or directory): correct it, or give bytes if it is made later",
    ),
    "mode of another loader": (
        A + "mode = 'mmap'",
        5,
        "components.a.mode",
        "is only for loader = 'file:…', not for 'simulated'",
    ),
    "unload of another loader": (
        A + "unload = 'a:b'",
        5,
        "components.a.unload",
        "is only for loader = 'python:…', not for",
    ),
    "a bad unload": (
        A.replace("simulated", "python:voices:load") + "unload = 'close'",
        5,
        "components.a.unload",
        "must be 'package.module:function', not 'close'",
    ),
    "unknown mode": (
        A.replace("simulated", "file:x") + "mode = 'map'",
        5,
        "components.a.mode",
        "must be 'read' or 'mmap', not 'map'",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_mistake_is_refused_with_its_place(tmp_path, case):
    text, line, field, reason = BAD_FILES[case]
    path = tmp_path / "components.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        ComponentRegistry.from_toml(path)
    at = f", field '{field}'" if field else ""
    assert str(caught.value).startswith(f"{path}:{line}{at}: {reason}")


def test_there_are_many_ways_to_be_wrong():
    assert len(BAD_FILES) >= 25


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match=r"absent.toml cannot be read: No such file"):
        ComponentRegistry.from_toml(tmp_path / "absent.toml")


def test_a_good_file(tmp_path):
    (tmp_path / "voice.bin").write_bytes(b"x" * 1_000)
    path = tmp_path / "components.toml"
    path.write_text(
        A
        + """
[components.tts]
loader = "python:os.path:basename"
unload = "os:close"
bytes = 210_000_000
load_s = 1.4
requires = ["voice"]
conflicts = ["a"]
priority = 2

[components.voice]
loader = "file:voice.bin"
mode = "mmap"
"""
    )
    registry = ComponentRegistry.from_toml(path)
    assert list(registry) == ["a", "tts", "voice"]
    tts = registry["tts"]
    assert (tts.bytes, tts.load_s, tts.requires, tts.conflicts, tts.priority) == (
        210_000_000,
        1.4,
        ("voice",),
        ("a",),
        2,
    )
    assert registry["voice"].bytes == 1_000
    assert registry.graph().conflicts("a") == {"tts"}
    assert registry.provider().dependencies("component:tts") == ("component:voice",)


def test_a_registry_of_immutable_components_is_immutable(tmp_path):
    path = tmp_path / "components.toml"
    path.write_text(A)
    assert ComponentRegistry.from_toml(path).provider().immutable
    path.write_text(A + B.replace("simulated", "file:x"))
    assert not ComponentRegistry.from_toml(path).provider().immutable


def test_decorators_add_to_a_file(tmp_path):
    path = tmp_path / "components.toml"
    path.write_text(A)
    registry = ComponentRegistry.from_toml(path)

    @registry.component("reader", bytes=5, load_s=0.5, requires=["a", "later"])
    def reader():
        return "a reader"

    registry.simulated("later", bytes=1, load_s=0.0)
    assert reader() == "a reader"  # still an ordinary function
    assert set(registry.dependencies("reader")) == {"a", "later"}
    assert registry.provider("skill").cost("skill:reader") == Cost(0.5, 5)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"bytes": -1}, ", bytes: must be a whole number of at least 0, not -1"),
        ({"bytes": 1.5}, ", bytes: must be a whole number of at least 0, not 1.5"),
        ({"load_s": "1"}, ", load_s: must be a number of seconds of at least 0, not '1'"),
        ({"requires": "abc"}, ", requires: must be a list of component names, not 'abc'"),
        ({"conflicts": [3]}, ", conflicts: must be a list of component names, not (3,)"),
        ({"name": ""}, ", name: must be a name that is not empty, not ''"),
        ({"requires": ["nix"]}, ", requires[0]: there is no component 'nix'; known are taken"),
        ({"requires": ["x"]}, ", requires[0]: components require each other in a circle: x → x"),
        ({"name": "taken"}, ": the name is taken by {path}:{first}, component 'taken'"),
    ],
)
def test_a_decorators_mistake_is_shown_in_its_place(declared, reason):
    registry = ComponentRegistry()
    first = inspect.currentframe().f_lineno + 1
    registry.simulated("taken", bytes=1, load_s=1.0)
    arguments = {"name": "x", "bytes": 1, "load_s": 1.0} | declared
    with pytest.raises(ConfigurationError) as caught:  # noqa: PT012
        registry.component(**arguments)(int)
        registry.provider()
    place = f"{__file__}:{first + 3}, component {arguments['name']!r}"
    assert str(caught.value) == place + reason.format(path=__file__, first=first)


def test_a_served_registry_takes_no_more():
    registry = ComponentRegistry()
    registry.provider()
    with pytest.raises(ConfigurationError, match=r"component 'late': this registry has a provider already"):
        registry.simulated("late", bytes=1, load_s=1.0)


def test_unknown_components_get_a_suggestion():
    registry = ComponentRegistry()
    registry.simulated("audio", bytes=1, load_s=1.0)
    for ask in (registry.__getitem__, registry.dependencies):
        with pytest.raises(UnknownResourceError, match=r"no component 'adio'; did you mean 'audio'\?"):
            ask("adio")


def test_dependencies_are_computed_once_and_in_linear_time():
    """A ladder of diamonds has 2^n paths from its top to its bottom, and a chain is deeper than the stack."""
    registry = ComponentRegistry()
    add = functools.partial(registry.simulated, bytes=1, load_s=0.0)
    add("0")
    for rung in range(1, 2_000):
        add(f"{rung}left", requires=[f"{rung - 1}"])
        add(f"{rung}right", requires=[f"{rung - 1}"])
        add(f"{rung}", requires=[f"{rung}left", f"{rung}right"])
    order = registry.dependencies("1999")
    assert len(order) == 3 * 1_999
    assert order[0] == "0"
    assert registry.dependencies("1999") is order


def test_what_may_be_loaded_in_any_order_is_loaded_in_the_order_written():
    """Sets of strings are ordered anew in every process: nothing may depend on theirs."""
    registry = ComponentRegistry()
    names = [f"part{number}" for number in range(20)]
    for name in sorted(names, reverse=True):
        registry.simulated(name, bytes=1, load_s=0.0)
    registry.simulated("whole", bytes=1, load_s=0.0, requires=names)
    assert registry.dependencies("whole") == tuple(names)


def test_without_executor_sync_loaders_say_what_to_do():
    registry = ComponentRegistry()
    registry.component("x", bytes=1, load_s=1.0)(int)
    with pytest.raises(ConfigurationError, match="hand the provider to a PreloadManager, or give it executor="):
        asyncio.run(registry.provider().load("component:x"))


def test_the_shipped_example_is_valid():
    path = Path(__file__).parents[2] / "examples" / "components.toml"
    registry = ComponentRegistry.from_toml(path)
    assert registry.dependencies("assistant")
