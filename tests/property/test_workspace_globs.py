"""Globs against a matcher that tries everything, and ignore rules against git itself."""

import os
import subprocess
from functools import lru_cache
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preloader.workspace.globs import Glob, braces
from preloader.workspace.ignore import IgnoreRules

SEGMENTS = st.text(alphabet="ab*?.", min_size=1, max_size=5).filter(lambda text: "**" not in text)
PATTERNS = st.lists(
    st.one_of(SEGMENTS, st.just("**"), st.sampled_from(["[ab]", "[!a]", "[a-b]b"])), min_size=1, max_size=4
)
NAMES = st.text(alphabet="abc.", min_size=1, max_size=4).filter(lambda text: text.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=4)


def by_trying(pattern, path):
    """Match segment lists by trying every way."""

    @lru_cache(None)
    def segments(i, j):
        if i == len(pattern):
            return j == len(path)
        if pattern[i] == "**":
            last = i == len(pattern) - 1
            return any(segments(i + 1, k) for k in range(j, len(path) + 1)) if not last else j < len(path)
        return j < len(path) and within(pattern[i], path[j]) and segments(i + 1, j + 1)

    return segments(0, 0)


def within(pattern, name):
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(within(pattern[1:], name[at:]) for at in range(len(name) + 1))
    if pattern[0] == "[":
        inside, _, rest = pattern[1:].partition("]")
        if not name:
            return False
        negated, inside = inside.startswith("!"), inside.removeprefix("!")
        members = "ab" if inside == "a-b" else inside
        return (name[0] in members) != negated and within(rest, name[1:])
    return bool(name) and pattern[0] in ("?", name[0]) and within(pattern[1:], name[1:])


@given(PATTERNS, PATHS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_glob_matches_what_trying_everything_finds(pattern, path):
    assert Glob("/".join(pattern)).matches("/".join(path)) == by_trying(tuple(pattern), tuple(path))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a*" * 400 + "b", "a" * 255),
        ("**/a/" * 150 + "b", "a/" * 1_000 + "c"),
        ("*?" * 400, "a" * 255),
        ("*" * 900, "a" * 255),
    ],
)
def test_patterns_made_to_take_long_do_not(pattern, path):
    """One that went back and forth would not end before the test's time is over."""
    for _ in range(20):
        Glob(pattern).matches(path)


def test_braces():
    assert braces("a.{ts,tsx{1,2}}") == ["a.ts", "a.tsx1", "a.tsx2"]
    assert braces("{a}") == ["{a}"]
    with pytest.raises(ValueError, match="more than 64"):
        braces("{a,b}" * 10)
    with pytest.raises(ValueError, match="at most 1000 characters"):
        Glob("x" * 1_001)


LINES = st.one_of(
    st.builds(
        lambda bang, slash, parts, end: bang + slash + "/".join(parts) + end,
        st.sampled_from(["", "", "!"]),
        st.sampled_from(["", "", "/"]),
        st.lists(st.one_of(NAMES, SEGMENTS, st.just("**")), min_size=1, max_size=3),
        st.sampled_from(["", "", "/", " ", "\\ "]),
    ),
    st.sampled_from(["# comment", "", "\\#a", "\\!a", "[ab]", "a[!b]", "[[:alpha:]]", "*.b"]),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A repository with directories and files to ask about."""
    root = tmp_path_factory.mktemp("ignored")
    for directory in ("a/b/c", "a/b", "a", "b", "ab/a", "c/a.b"):
        (root / directory).mkdir(parents=True, exist_ok=True)
        for name in ("a.b", "aa", "b", "c.a", "abc"):
            path = root / directory / name
            if not path.exists():
                path.write_text("")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


@given(st.lists(LINES, max_size=6), st.lists(LINES, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rules_ignore_what_git_ignores(tree, top, nested):
    (tree / ".gitignore").write_text("\n".join(top) + "\n")
    (tree / "a/.gitignore").write_text("\n".join(nested) + "\n")
    paths = [path for path in tree.rglob("*") if ".git" not in path.parts and path.name != ".gitignore"]
    names = [str(path.relative_to(tree)) for path in paths]
    command = ["git", "check-ignore", "--stdin", "-z", "--no-index"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    asked = subprocess.run(command, cwd=tree, input="\0".join(names).encode(), capture_output=True, env=environment)
    by_git = {name for name in asked.stdout.decode().split("\0") if name}
    rules = IgnoreRules(tree)
    ours = {
        name
        for name, path in zip(names, paths, strict=True)
        if rules.ignores(PurePosixPath(name), is_directory=path.is_dir())
    }
    assert ours == by_git
