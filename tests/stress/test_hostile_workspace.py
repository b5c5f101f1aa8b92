"""Every attempt of `hostile_world` through a real manager: refused or harmless, and nothing secret is ever served."""

import asyncio
import contextlib
import os
import threading
import time
from pathlib import PurePosixPath

import msgspec
import pytest

from preloader.components import confined
from preloader.errors import PreloaderError
from preloader.manager import PreloadManager
from preloader.scheduling.execution import ThreadExecutor
from preloader.settings import Settings
from preloader.workspace import catalogue, git, git_facts, paths
from preloader.workspace.arguments import Argument
from preloader.workspace.catalogue import Tool, ToolCatalogue
from preloader.workspace.commands import CommandTool
from preloader.workspace.derived import Derived
from preloader.workspace.facts import FactProvider
from preloader.workspace.files import SourceFile, SourceFiles, WorkspaceFiles
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider
from tests.stress.hostile_world import CANARY, Attempt, World, attempts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, devices and links are those of POSIX systems")


def operators_catalogue(marker):
    """The built-in tools, and what an operator might add: programs that read, and one that writes."""
    tools = ToolCatalogue.builtin()
    for name, command, schema, effects in (
        ("cat", ["cat", "{path}"], {"path": Argument(type="path", required=True)}, "reads"),
        ("echo", ["echo", "{text}"], {"text": Argument(type="string", required=True)}, "none"),
        ("touch", ["touch", str(marker), "{path}"], {"path": Argument(type="path", required=True)}, "writes"),
    ):
        run = CommandTool(command, schema, ["README.md"], pure=effects == "none")
        tools.add(Tool(name=name, run=run, arguments=schema, side_effects=effects))
    return tools


def files_of(root):
    """Return all there is, as if git tracked it."""
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


class Attacker:
    """Makes attempts on a world, and says what came of each."""

    def __init__(self, world):
        self.world = world
        workspace = Confined(world.root)
        files = SourceFiles(workspace)
        self.tools = ToolProvider(operators_catalogue(world.marker), files)
        self.providers = {"file": WorkspaceFiles(workspace), "fact": FactProvider(files), "tool": self.tools}

    async def outcome(self, manager, attempt):
        """Return what was served, as bytes; None where the attempt was refused."""
        try:
            key = attempt.key if attempt.arguments is None else self.tools.key(attempt.key, attempt.arguments)
            value = await manager.get(key)
        except PreloaderError as error:
            return None, str(error)
        if isinstance(value, SourceFile):
            return value.data, ""
        assert isinstance(value, Derived)
        return msgspec.json.encode(value.value), ""

    async def run(self, chosen=lambda attempt: True):
        """Make the attempts that are chosen; return what went wrong in words, and how many there were."""
        faults, count = [], 0
        settings = Settings(load_attempts=1, load_timeout_s=20.0, quarantine_after=1_000, pressure=False)
        async with (
            contextlib.aclosing(ThreadExecutor()) as executor,
            PreloadManager(self.providers, settings=settings, executor=executor) as manager,
            CodeGraph(self.world.root, executor) as graph,
        ):
            await graph.build(files_of(self.world.root))
            self.providers["fact"].of_graph.graph = graph
            for attempt in filter(chosen, attempts(self.world)):
                count += 1
                served, error = await self.outcome(manager, attempt)
                if served is not None and attempt.refused:
                    faults.append(f"{attempt.what} was served: {served[:80]!r}")
                if CANARY in error and attempt.arguments is None and CANARY not in attempt.key:
                    faults.append(f"{attempt.what}: the message gives a secret away: {error[:200]}")
                if served is not None and CANARY.encode() in served:
                    faults.append(f"{attempt.what}: a secret was served: {served[:80]!r}")
                if self.world.marker.exists():
                    faults.append(f"{attempt.what}: a program of the repository's was run")
                    self.world.marker.unlink()
        return faults, count


def test_nothing_secret_is_served_and_nothing_strange_is_run(tmp_path):
    faults, count = asyncio.run(Attacker(World(tmp_path)).run())
    assert not faults, "\n".join(faults[:40])
    assert count >= 200


def nothing(*_, **__):
    return None


WITHOUT = {
    "the names of secrets": (lambda patch: patch.setattr(paths, "secret_part", nothing), "is secret, as file"),
    "the rules that ignore": (lambda patch: patch.setattr(paths.Confined, "_check_ignored", nothing), "is ignored, as"),
    "a second look where links lead": (
        lambda patch: patch.setattr(paths, "open_confined", without("admit", paths.open_confined)),
        "is a link, or behind one, to what may not be looked at, as a file",
    ),
    "names that may be options": (
        lambda patch: patch.setattr(paths, "PurePosixPath", Undashed),
        "would be an option, as a file",
    ),
    "what is no regular file": (
        lambda patch: patch.setattr(confined, "_check_regular", nothing),
        "is no regular file, or beneath one, as a file",
    ),
    "what walks leave out": (
        lambda patch: patch.setattr(paths.Confined, "shown", lambda *_: lambda name, is_directory: True),
        "an expression over",
    ),
    "what differences leave out": (lambda patch: patch.setattr(paths.Confined, "refuses", nothing), "the repository's"),
    "options over the configuration": (lambda patch: patch.setattr(git, "OPTIONS", ("git",)), "the repository's"),
    "filters that are disarmed": (
        lambda patch: patch.setattr(git.Git, "_without_filters", lambda _: ()),
        "the repository's",
    ),
    "other conversions that are not run": (
        lambda patch: patch.setattr(git_facts, "_SAFE_DIFF", ("--no-renames",)),
        "the repository's",
    ),
    "the classes of side effects": (
        lambda patch: patch.setattr(catalogue, "AHEAD", ("reads", "writes")),
        "a listed tool",
    ),
    "a command's paths without links": (
        lambda patch: patch.setattr(CommandTool, "_resolved", lambda self, reading, name, value: value),
        "is a link, or behind one, to what may not be looked at, as a command's",
    ),
}


class Undashed(PurePosixPath):
    """A path whose parts never begin with a dash, going by what they say."""

    @property
    def parts(self):
        return tuple(part.lstrip("-") for part in super().parts)


def without(option, function):
    def called(*args, **options):
        options.pop(option)
        return function(*args, **options)

    return called


@pytest.mark.parametrize("check", WITHOUT)
def test_without_any_one_check_the_attempts_succeed(tmp_path, monkeypatch, check):
    """Otherwise the test above would prove nothing of that check."""
    attacker = Attacker(World(tmp_path))
    remove, about = WITHOUT[check]
    remove(monkeypatch)
    faults, count = asyncio.run(attacker.run(lambda attempt: attempt.what.startswith(about)))
    assert count
    assert faults


def flip(world, ended):
    """Put a link to what lies outside in the place of a file and of a directory, and take it away, over and over."""
    for name, real in (("sub", world.base / "real"), ("file.txt", world.base / "real.txt")):
        (world.root / name).unlink(missing_ok=True)
        if name == "sub":
            real.mkdir()
            (real / "page.txt").write_text("harmless")
        else:
            real.write_text("harmless")
        real.rename(world.root / name)
    while not ended.is_set():
        for name, target in (("sub", world.outside), ("file.txt", world.outside / "page.txt")):
            aside = world.base / "aside"
            (world.root / name).rename(aside)
            (world.root / name).symlink_to(target)
            (world.root / name).unlink()
            aside.rename(world.root / name)


def test_links_raced_in_are_never_followed(tmp_path, monkeypatch):
    """Between the moment that a path was found to be harmless and that of its opening, a link is put there."""
    world = World(tmp_path)
    attacker = Attacker(world)
    open_beneath = confined._open_beneath

    def open_later(*args):
        time.sleep(0.0005)
        return open_beneath(*args)

    monkeypatch.setattr(confined, "_open_beneath", open_later)
    asked = [
        ("file:sub/page.txt", None),
        ("file:file.txt", None),
        ("read_file", {"path": "sub/page.txt"}),
        ("grep", {"pattern": "canary", "path": "sub"}),
        ("grep", {"pattern": "canary", "path": "file.txt"}),
        ("list_directory", {"path": "sub"}),
        ("fact:syntax file.txt", None),
    ]

    async def main():
        settings = Settings(load_attempts=1, quarantine_after=1_000_000, pressure=False)
        served = set()
        async with PreloadManager(attacker.providers, settings=settings) as manager:
            for _ in range(60):
                for key, arguments in asked:
                    value, _ = await attacker.outcome(manager, Attempt("a link is raced in", key, arguments))
                    served.add(value)
        return served

    ended = threading.Event()
    thread = threading.Thread(target=flip, args=(world, ended))
    thread.start()
    try:
        served = asyncio.run(main())
    finally:
        ended.set()
        thread.join()
    assert b"harmless" in served
    assert not any(CANARY.encode() in value for value in served if value)
    assert not any(b'"name":".ssh"' in value for value in served if value)
