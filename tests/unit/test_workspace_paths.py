from pathlib import Path, PurePosixPath

import pytest

from preloader.errors import ConfigurationError, RefusedPathError, UnknownResourceError
from preloader.workspace import paths as paths_module
from preloader.workspace.paths import Confined
from preloader.workspace.secrets import folded, is_secret
from tests.unit.workspace_tree import write

FILES = {
    "src/app.py": "x",
    "src/.gitignore": "*.tmp\n!kept.tmp\n",
    "src/a.tmp": "x",
    "src/kept.tmp": "x",
    ".gitignore": "/build/\n",
    "build/out.js": "x",
    "docs/.env.example": "x",
    "tests/keys/test.pem": "x",
    "[...slug].tsx": "x",
    "a b/ü.py": "x",
}


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "root", FILES)
    return tmp_path / "root"


def test_paths_that_may_be_looked_at(root):
    confined = Confined(root)
    for text, path in {
        "src/app.py": "src/app.py",
        "./src//app.py": "src/app.py",
        str(root / "src/app.py"): "src/app.py",
        "src": "src",
        "src/": "src",
        ".": ".",
        str(root): ".",
        "src/kept.tmp": "src/kept.tmp",
        "[...slug].tsx": "[...slug].tsx",
        "a b/ü.py": "a b/ü.py",
        ".gitignore": ".gitignore",
    }.items():
        assert confined.check(text) == PurePosixPath(path)
        assert confined.resolve(text) == PurePosixPath(path)


def test_a_root_that_is_reached_by_a_link_has_two_names(root):
    link = root.parent / "link"
    link.symlink_to(root)
    confined = Confined(link)
    for text in (f"{link}/src/app.py", f"{root}/src/app.py", "src/app.py"):
        assert confined.resolve(text) == PurePosixPath("src/app.py")
    with pytest.raises(RefusedPathError, match="it leads out"):
        Confined(root).check(f"{link}/src/app.py")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("../x", "the path '../x' is refused: it goes up"),
        ("/etc/passwd", "it leads out of the workspace"),
        (".env", "'.env' may hold secrets"),
        ("docs/.env.example", "'.env.example' may hold secrets"),
        ("src/a.tmp", "it is ignored"),
        ("build", "it is ignored"),
        ("build/out.js", "it is ignored"),
        ("-c", "a name with a dash before it may be an option"),
        ("~/x", "it names somebody's home"),
        ("file:///x", "it is written as another system's path, or as an address"),
        ("a\0", "it holds a character that cannot be seen"),
        ("x" * 300, "it is too long"),
        ("\ud800", "it is not valid Unicode"),
        ("", "a path is a text that is not empty"),
    ],
)
def test_a_refusal_says_why(root, text, reason):
    with pytest.raises(RefusedPathError, match=reason):
        Confined(root).resolve(text)


def test_a_refusal_by_the_text_tells_nothing_of_the_disk(root, monkeypatch):
    confined = Confined(root)
    monkeypatch.setattr("os.path.realpath", lambda *_, **__: pytest.fail("the disk was looked at"))
    for text in (".env", "../x", "id_rsa"):
        with pytest.raises(RefusedPathError):
            confined.open(text)


def test_links_are_asked_again_where_they_lead(root):
    (root / ".env").write_text("secret")
    for name, target in {"in": "src/app.py", "secret": ".env", "ignored": "build/out.js", "out": "/etc/passwd"}.items():
        (root / name).symlink_to(target)
    confined = Confined(root)
    assert confined.resolve("in") == PurePosixPath("src/app.py")
    for name in ("secret", "ignored"):
        with pytest.raises(RefusedPathError):
            confined.resolve(name)
    with pytest.raises(UnknownResourceError, match="outside of"):
        confined.resolve("out")


def test_what_is_opened_is_what_was_admitted(root, monkeypatch):
    """A link that is put in the file's place after it was resolved and admitted is not followed."""
    (root / ".env").write_text("secret")
    confined = Confined(root)
    admit = paths_module.Confined._check_ignored

    def admit_and_swap(self, path, text, *, directory):
        admit(self, path, text, directory=directory)
        (root / "src/app.py").unlink(missing_ok=True)
        (root / "src/app.py").symlink_to(root / ".env")

    monkeypatch.setattr(paths_module.Confined, "_check_ignored", admit_and_swap)
    with pytest.raises(UnknownResourceError):
        confined.open("src/app.py")


def test_an_edit_of_the_ignore_file_counts_at_once(root):
    confined = Confined(root)
    confined.resolve("src/app.py")
    (root / "src/.gitignore").write_text("app.py\n")
    with pytest.raises(RefusedPathError, match="it is ignored"):
        confined.resolve("src/app.py")


def test_the_operator_refuses_more_and_allows_some(root):
    confined = Confined(root, refuse=["docs/**", "*.tsx"], allow=["tests/keys/*.pem", ".env.example"])
    for text in ("docs/.env.example", "[...slug].tsx"):
        with pytest.raises(RefusedPathError, match="the operator excluded"):
            confined.resolve(text)
    assert confined.resolve("tests/keys/test.pem") == PurePosixPath("tests/keys/test.pem")
    with pytest.raises(RefusedPathError):
        Confined(root).resolve("tests/keys/test.pem")


def test_names_that_are_folded_away_are_the_secret_still():
    for name in (".ENV", ".env.", ".env ", ".env::$DATA", "\uff0eenv", ".e\u200bnv", "Id_RSA", "GIT~1", ".en\u0301v"):
        assert is_secret(name), (name, folded(name))
    for name in (
        "environment.py",
        "git.py",
        "secrets.py",
        "keys.md",
        "token.py",
        ".github",
        ".gitignore",
        "credentials.go",
    ):
        assert not is_secret(name), name


def test_a_name_in_another_spelling_is_refused_where_the_disk_takes_it_for_the_same(root, monkeypatch):
    """On such a file system a rule on ``out.js`` would not be asked about ``OUT.JS``."""
    monkeypatch.setattr(paths_module, "_ignores_case", lambda root: True)
    confined = Confined(root)
    assert confined.resolve("src/app.py") == PurePosixPath("src/app.py")
    monkeypatch.setattr(paths_module.os, "listdir", lambda _: ["SRC", "APP.PY"])
    with pytest.raises(RefusedPathError, match="'src' is spelled otherwise on the disk"):
        confined.resolve("src/app.py")


@pytest.mark.parametrize("place", ["/", "/proc", "/dev", "/sys", "/proc/self"])
def test_places_that_are_no_workspace(place):
    if not Path(place).exists():
        pytest.skip(f"there is no {place} here")
    with pytest.raises(ConfigurationError, match="root must be a folder of files to work on"):
        Confined(place)


def test_wrong_arguments(tmp_path):
    with pytest.raises(ConfigurationError, match="root must be a directory"):
        Confined(tmp_path / "absent")
    with pytest.raises(ConfigurationError, match="refuse must be globs"):
        Confined(tmp_path, refuse=["x" * 2_000])
