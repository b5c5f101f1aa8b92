"""A workspace full of traps, and every attempt that is made on it: what is tried, by which key, what must come of it.

Whatever must never be served holds `CANARY`; whatever must never be run writes the file `MARKER`. An attempt must be
refused, or else be harmless: it may be served or fail then, but neither the canary nor the marker is ever seen.
"""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

CANARY = "canary-3f9a"
MARKER = "was-run"
SECRET_FILES = (
    *(".env", ".env.local", ".envrc", "prod.env", "id_rsa", "id_ed25519.pub", "server.pem", "tls.key", ".netrc"),
    *(".npmrc", "secrets.json", "credentials.json", ".ssh/config", ".aws/credentials", ".git-credentials", "a.tfstate"),
    *("src/.env", "src/deep/id_ecdsa", ".hg/hgrc", ".kube/config"),
)
IGNORED_FILES = ("notes.log", "build/out.txt", "src/local.txt", "excluded.txt", "src/cache/x.py")


class Attempt(msgspec.Struct, frozen=True):
    """One attempt.

    Attributes:
        what: What is tried, in words.
        key: The resource that is asked for; or, for a call, its tool's name.
        arguments: Of a call.
        refused: Whether it must be refused; else it must be harmless.
    """

    what: str
    key: str
    arguments: dict[str, object] | None = None
    refused: bool = True


class World:
    """The workspace ``root`` beside ``outside``, whose content is nobody's business.

    Args:
        base: An empty directory.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "root"
        self.outside = base / "outside"
        self.marker = base / MARKER
        self._make_files()
        self._make_repository()
        self._make_odd_files()

    def _write(self, path: Path, text: str = CANARY) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _make_files(self) -> None:
        for path in ("page.txt", ".ssh/id_rsa", "sub/page.txt"):
            self._write(self.outside / path)
        self._write(self.base / "root2" / "page.txt")
        for name in ("src/app.py", "src/deep/mod.py", "tests/test_app.py", "README.md", "-rf", "--output=x"):
            self._write(self.root / name, "def harmless():\n    return 'nothing to see here'\n")
        for name in (*SECRET_FILES, *IGNORED_FILES):
            self._write(self.root / name)
        self._write(self.root / ".gitignore", "*.log\n/build/\n")
        self._write(self.root / "src/.gitignore", "local.txt\ncache/\n")

    def _git(self, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base), "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        subprocess.run(command, cwd=self.root, env=environment, check=True, capture_output=True)

    def _make_repository(self) -> None:
        """Commit everything, secrets too, then change it all and let the configuration name programs to run."""
        self._git("init", "-q", "-b", "main")
        self._write(self.root / ".gitattributes", "* diff=trap filter=trap\n")
        self._git("add", "-Af")
        self._git("commit", "-q", "-m", "all")
        with (self.root / ".git/info/exclude").open("a") as file:
            file.write("excluded.txt\n")
        for name in (*SECRET_FILES, *IGNORED_FILES):
            self._write(self.root / name, f"{CANARY} again")
        self._write(self.root / "src/app.py", "def harmless():\n    return 'still nothing'\n")
        run = f"sh -c 'touch {self.marker}; cat'"
        for name in ("diff.external", "diff.trap.command", "diff.trap.textconv", "core.pager", "core.fsmonitor"):
            self._git("config", name, run)
        for name in ("filter.trap.clean", "filter.trap.smudge", "core.sshCommand", "gpg.program", "core.editor"):
            self._git("config", name, run)
        for name in (
            "core.attributesFile",
            "mailmap.file",
            "blame.ignoreRevsFile",
            "diff.orderFile",
        ):
            self._git("config", name, str(self.outside / "page.txt"))
        self._git("config", "filter.trap.required", "true")
        self._git("config", "alias.status", f"!{run}")
        self._git("config", "log.showSignature", "true")
        self._git("config", "core.hooksPath", str(self.root / "hooks"))
        for hook in ("post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"):
            self._write(self.root / "hooks" / hook, f"#!/bin/sh\ntouch {self.marker}\n")
            (self.root / "hooks" / hook).chmod(0o755)

    def _make_odd_files(self) -> None:
        links = {
            "to_outside": self.outside / "page.txt",
            "to_outside_directory": self.outside,
            "to_outside_relative": Path("../outside/page.txt"),
            "to_env": Path(".env"),
            "to_git": Path(".git"),
            "to_git_config": Path(".git/config"),
            "to_ignored": Path("build/out.txt"),
            "to_ignored_directory": Path("build"),
            "to_root": Path(),
            "to_above": Path(".."),
            "to_slash": Path("/"),
            "to_environ": Path("/proc/self/environ"),
            "to_zero": Path("/dev/zero"),
            "to_itself": Path("to_itself"),
            "to_nothing": Path("nothing"),
            "to_link": Path("to_outside"),
            "src/to_env": Path("../.env"),
        }
        for name, target in links.items():
            (self.root / name).symlink_to(target)
        os.mkfifo(self.root / "fifo")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:  # a path too long for a socket
            server.bind(str(self.root / "socket"))
        with contextlib.suppress(OSError):  # which only root may make
            os.mknod(self.root / "zero", 0o020666, os.makedev(1, 5))


def paths(world: World) -> Iterator[tuple[str, str]]:
    """Yield what is tried, and the path's text."""
    yield from _ways_out(world)
    yield from _spellings()
    yield from _odd_texts()
    yield from _on_the_disk()


def _ways_out(world: World) -> Iterator[tuple[str, str]]:
    for text in (
        *("../outside/page.txt", "../../etc/passwd", "../../.ssh/id_rsa", "src/../../outside/page.txt", ".."),
        *("src/..", "./..", "...", "..../x", ".. /outside/page.txt", "\uff0e\uff0e/outside/page.txt", "\u2025/x"),
        *("src/../.env", "./../root/src/app.py", "src/deep/../../.env", "..\\outside\\page.txt", "\u2024\u2024/x"),
    ):
        yield "goes up", text
    for text in (
        "%2e%2e/outside/page.txt",
        "..%2foutside",
        "..;/outside",
        "$HOME/.bashrc",
        "${HOME}",
        "`id`",
        "$(id)",
    ):
        yield "goes up where something decodes it", text
    for text in (
        *(str(world.outside / "page.txt"), "/etc/passwd", "//etc/passwd", "/proc/self/environ", "/dev/zero", "/"),
        *("/proc/self/root/etc/passwd", "/dev/stdin", "/dev/fd/0", f"{world.root}/../outside/page.txt"),
        *(
            str(world.base / "root2/page.txt"),
            f"{world.root}2/page.txt",
            f"/{world.root}/src/app.py",
            "///etc/passwd",
        ),
    ):
        yield "is absolute", text
    for text in ("~", "~/.ssh/id_rsa", "~root/.ssh/id_rsa", "~+/x"):
        yield "names a home", text
    for text in (
        *("file:///etc/passwd", "file:/etc/passwd", "FILE://x", "http://169.254.169.254/", "ftp://x/y", "data:,x"),
        *("ext::sh -c id", "ssh://x/y", "jar:file:/x!/y", "javascript:1", "git://x/y", "unix:/var/run/docker.sock"),
    ):
        yield "is an address", text
    for text in (
        *("C:\\Windows\\win.ini", "C:/Windows/win.ini", "C:secret", "c:/x", "\\\\server\\share\\x", "//server/share/x"),
        *("\\\\?\\C:\\x", "\\\\.\\pipe\\x", "src\\app.py", ".env::$DATA", ".env:x", "src/.env::$INDEX_ALLOCATION"),
        *("GIT~1/config", "git~2/config", "GI7EBA~1/config", "ENV~1", "ENVLOC~1", "SSH~1/config"),
    ):
        yield "is written as in Windows", text


def _spellings() -> Iterator[tuple[str, str]]:
    wide = {ord(char): ord(char) + 0xFEE0 for char in "abcdefghijklmnopqrstuvwxyz"}
    transforms = {
        "is secret": str,
        "is secret, in capitals": str.upper,
        "is secret, with a dot behind": lambda text: text + ".",
        "is secret, with a space behind": lambda text: text + " ",
        "is secret, in wide letters": lambda text: text.translate(wide),
        "is secret, with an invisible character": lambda text: text[:-1] + "\u200c" + text[-1],
        "is secret, with a soft hyphen": lambda text: text[:-1] + "\u00ad" + text[-1],
        "is secret, with a dot before": lambda text: "./" + text,
        "is secret, with slashes doubled": lambda text: text.replace("/", "//") + "/",
    }
    for what, transform in transforms.items():
        for name in (*SECRET_FILES, ".git/config", ".git/HEAD", ".git"):
            yield what, transform(name)
    for text in (".\u0435nv", ".en\u03bd", "id_rs\u0430", "\u2044etc\u2044passwd", "src\u2215..\u2215.env"):
        yield "looks like a secret's name, or like a slash, and is another", text


def _odd_texts() -> Iterator[tuple[str, str]]:
    for text in (
        *("", " ", "\t", "src/app.py\0", "src/app.py\0.txt", "src\n/app.py", "src/app.py\n", "\x1b[2Jx", "x\x7f"),
        *("\u202egnp.exe", "src/\u2066app.py", "\ufeffsrc/app.py", "\ud800", "src/\udcff", "\U000e0001x", "\ue000"),
        *("x" * 256, "x" * 10_000, "a/" * 3_000 + "x", "\u00e4" * 130, "src/app.py/" + "x" * 300),
    ):
        yield "is malformed", text
    for text in (
        *("-rf", "--output=x", "-c", "--ext-diff", "--upload-pack=id", "--no-index", "--textconv", "src/-x", "-", "--"),
        *("--exec=id", "-O/etc/passwd", "--git-dir=/tmp", "--work-tree=/"),
    ):
        yield "would be an option", text
    for text in (
        ":/",
        ":(top)src/app.py",
        ":!src",
        ":(exclude)src",
        ":(glob)**",
        ":(attr:x)",
        ":^x",
        ":(icase).ENV",
        "*",
        "**",
    ):
        yield "would be a pattern to git", text
    for text in (
        "CON",
        "NUL",
        "aux.txt",
        "com1",
        "src/app.py;id",
        "src/app.py|id",
        "src/app.py && id",
        "x > y",
        "'",
        '"',
    ):
        yield "would mean something elsewhere", text


def _on_the_disk() -> Iterator[tuple[str, str]]:
    for text in (
        *("to_outside", "to_outside_relative", "to_env", "to_git_config", "to_ignored", "to_environ", "to_zero"),
        *("to_itself", "to_nothing", "to_link", "src/to_env", "to_outside_directory/page.txt", "to_git/config"),
        *(
            "to_outside_directory/.ssh/id_rsa",
            "to_outside_directory/sub/page.txt",
            "to_root/.env",
            "to_root/to_outside",
        ),
        *("to_above/outside/page.txt", "to_slash/etc/passwd", "to_ignored_directory/out.txt", "to_root/to_root/.env"),
        *("to_slash", "to_above", "to_git", "to_outside_directory", "to_ignored_directory"),
    ):
        yield "is a link, or behind one, to what may not be looked at", text
    for text in IGNORED_FILES:
        yield "is ignored", text
    for text in ("build", "src/cache"):
        yield "is an ignored directory", text
    for text in ("fifo", "socket", "zero", "fifo/x", "src/app.py/x", "src/app.py/../../../outside"):
        yield "is no regular file, or beneath one", text


def attempts(world: World) -> Iterator[Attempt]:
    """Yield every attempt: each path through every provider and tool that takes one, and what has no path."""
    for what, text in paths(world):
        for key in (f"file:{text}", f"fact:git blame {text}:1-5", f"fact:syntax {text}"):
            yield Attempt(f"{what}, as {key.partition(':')[0]} {key[:40]!r}", key, None)
        yield Attempt(f"{what}, as a file to read", "read_file", {"path": text})
        yield Attempt(f"{what}, as a place to search in", "grep", {"pattern": "canary", "path": text})
        yield Attempt(f"{what}, as an expression's place", "grep", {"pattern": "ca.ary", "path": text})
        yield Attempt(f"{what}, as a directory", "list_directory", {"path": text})
        yield Attempt(f"{what}, as a place for patterns", "glob", {"pattern": "**", "path": text})
        yield Attempt(f"{what}, as what differs", "git_diff", {"path": text}, refused=False)
        yield Attempt(f"{what}, as what has a log", "git_log", {"path": text}, refused=False)
        yield Attempt(f"{what}, as a command's argument", "cat", {"path": text}, refused=False)
        for fact in ("git diff", "test files", "test setup", "related", "impact"):
            key = f"fact:{fact} {text}"
            yield Attempt(f"{what}, as {key[:40]!r}", key, None, refused=False)
        if not what.startswith("is secret, "):  # what a secret's other spellings match is what its name does
            yield Attempt(f"{what}, as a pattern", "glob", {"pattern": text}, refused=False)
            yield Attempt(f"{what}, as a pattern for files", "grep", {"pattern": "canary", "glob": text}, refused=False)
    yield from _patterns()
    yield from _calls()
    for fact in ("git status", "git diff", "git recent", "impact", "test setup", "test failures", "dependencies"):
        yield Attempt(f"the repository's configuration runs programs, in {fact!r}", f"fact:{fact}", None, refused=False)
    yield Attempt("a file of a commit", "fact:git diff HEAD:.env", None, refused=False)
    for lines in ("1-2", "1-999999999", "2-1", "0-1", "1,2", "-1", "1-2 --contents=/etc/passwd"):
        yield Attempt(f"blame of the lines {lines}", f"fact:git blame src/app.py:{lines}", None, refused=False)


def _patterns() -> Iterator[Attempt]:
    for pattern in (
        *("../*", "../**/*", "/etc/*", "**/../../*", "~/*", "**/.env", "**/.env*", "**/id_rsa", ".git/**", "**/.git/*"),
        *("{../outside,src}/*", "{.env,README.md}", "src/../../*", "{a,b}{c,d}{e,f}{g,h}{i,j}{k,l}{m,n}", "{" * 500),
        *("*" * 900, "a*" * 400 + "b", "**/" * 300 + "x", "[" * 400, "[!-~]*", "[[:alpha:]]*", "\\", "**\\..", "*.log"),
        *("to_outside_directory/*", "to_*/**", "build/*", "?env", ".e?v", "[.]env", "**/*"),
    ):
        yield Attempt("a pattern that reaches too far or takes too long", "glob", {"pattern": pattern}, refused=False)
        yield Attempt("the same, for files to search", "grep", {"pattern": "canary", "glob": pattern}, refused=False)
    for pattern in (
        "canary",
        "CANARY",
        "c.nary",
        "(?i)canary",
        "",
        "(",
        "[",
        "*",
        "(?P<a",
        "(?<=a+)b",
        "\\",
        "(?#",
        "x{99999}",
    ):
        for options in ({}, {"ignore_case": True}, {"fixed": True}):
            yield Attempt("an expression over all files", "grep", {"pattern": pattern, **options}, refused=False)


def _calls() -> Iterator[Attempt]:
    for name in (
        "bash",
        "sh",
        "rm",
        "read_file ",
        "READ_FILE",
        "write_file",
        "eval",
        "",
        "../read_file",
        "read_file;id",
    ):
        yield Attempt("a tool that is not listed", name, {"path": "src/app.py"})
    yield Attempt("a listed tool that writes", "touch", {"path": "src/app.py"})
    for value in (1, 1.5, True, None, ["src/app.py"], {"path": "x"}, [".env"], "\0"):
        yield Attempt("a path of another type", "read_file", {"path": value})
    for arguments in ({}, {"paths": "x"}, {"path": "README.md", "mode": "w"}, {"path": "README.md", "offset": -1}):
        yield Attempt("arguments that are not as listed", "read_file", arguments)
    for offset in (10**30, 1e308, float("nan"), float("inf"), "1", [1], True, 0):
        yield Attempt("a number that is none", "read_file", {"path": "README.md", "offset": offset})
    for text in ("-n", "--version", "--output=x", "-"):
        yield Attempt("a text that would be an option", "echo", {"text": text})
    for text in ("; id", "$(id)", "`id`", "| id", "&& id", "\n id", "a b", "*", "{path}"):
        yield Attempt("a text that a shell would run", "echo", {"text": text}, refused=False)
    for key in (
        *("tool:", "tool: ", "tool:read_file", "tool:read_file ", "tool:read_file x", "tool:read_file []", "tool:{}"),
        *(
            'tool:read_file {"path":"README.md"}',
            'tool:read_file {"path": "./README.md"}',
            'tool:read_file {"path": 1}',
        ),
        *('tool:read_file {"path": "README.md", "path": ".env"}', 'tool:read_file {"path": "README.md", "offset": 1}'),
        *(
            f"tool:read_file {'[' * 20_000}",
            f'tool:read_file {{"path": {json.dumps("x" * 30_000)}}}',
            "fact:",
            "fact: ",
        ),
        *(
            "fact:git",
            "fact:git push",
            "fact:git status .env",
            "fact:git diff  .env",
            "fact:git log",
            "fact:rm -rf",
            "file:",
        ),
        *("fact:git diff --output=x", "fact:git diff -- .env", "fact:git blame .env", "x:y"),
    ):
        yield Attempt("a key that is not as the provider writes it", key)
