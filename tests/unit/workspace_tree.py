"""A small workspace, its providers, and a manager over them, for the tests of facts and tools."""

import asyncio
import os
import subprocess

from preloader.manager import PreloadManager
from preloader.settings import Settings
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.facts import FactProvider
from preloader.workspace.files import SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def git(root, *arguments):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *arguments]
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)


def repository(root, files):
    """Make a repository in which ``files`` are committed."""
    write(root, files)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")


class Desk:
    """The providers of a workspace, and a manager over them.

    Args:
        root: The workspace.
        catalogue: Its tools; the built-in ones unless given.
        options: Of `Confined`.
    """

    def __init__(self, root, catalogue=None, *, listeners=(), settings=None, **options):
        self.confined = Confined(root, **options)
        self.sources = SourceFiles(self.confined)
        self.files = WorkspaceFiles(self.confined)
        self.facts = FactProvider(self.sources)
        self.tools = ToolProvider(catalogue or ToolCatalogue.builtin(), self.sources)
        self.manager = PreloadManager(
            {"file": self.files, "fact": self.facts, "tool": self.tools},
            settings=settings or Settings(load_attempts=1, pressure=False),
            listeners=listeners,
        )

    async def __aenter__(self):
        await self.manager.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.manager.__aexit__(*error)

    async def fact(self, name):
        return (await self.manager.get(f"fact:{name}")).value

    async def call(self, name, **arguments):
        return (await self.manager.get(self.tools.key(name, arguments))).value

    def outcomes(self):
        needs = self.manager.statistics().ledger.needs
        return needs["hit"], needs["miss"]


def facts(root, *names, setup=lambda desk: None):
    """Return facts of a workspace."""

    async def main():
        async with Desk(root) as desk:
            setup(desk)
            return [await desk.fact(name) for name in names]

    return asyncio.run(main())
