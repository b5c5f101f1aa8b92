"""Every attempt of `hostile_world` through a real manager: refused or harmless, and nothing secret is ever served."""

import asyncio
import os

import msgspec
import pytest

from preloader.errors import PreloaderError
from preloader.manager import PreloadManager
from preloader.settings import Settings
from preloader.workspace.arguments import Argument
from preloader.workspace.catalogue import Tool, ToolCatalogue
from preloader.workspace.commands import CommandTool
from preloader.workspace.derived import Derived
from preloader.workspace.facts import FactProvider
from preloader.workspace.files import SourceFile, SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider
from tests.stress.hostile_world import CANARY, World, attempts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, devices and links are those of POSIX systems")


def operators_catalogue(marker):
    """The built-in tools, and what an operator might add: programs that read, and one that writes."""
    catalogue = ToolCatalogue.builtin()
    for name, command, schema, effects in (
        ("cat", ["cat", "{path}"], {"path": Argument(type="path", required=True)}, "reads"),
        ("echo", ["echo", "{text}"], {"text": Argument(type="string", required=True)}, "none"),
        ("touch", ["touch", str(marker), "{path}"], {"path": Argument(type="path", required=True)}, "writes"),
    ):
        run = CommandTool(command, schema, ["README.md"], pure=effects == "none")
        catalogue.add(Tool(name=name, run=run, arguments=schema, side_effects=effects))
    return catalogue


class Attacker:
    """Makes attempts on a world, and says what came of each."""

    def __init__(self, world):
        self.world = world
        confined = Confined(world.root)
        files = SourceFiles(confined)
        self.tools = ToolProvider(operators_catalogue(world.marker), files)
        self.providers = {"file": WorkspaceFiles(confined), "fact": FactProvider(files), "tool": self.tools}

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

    async def run(self):
        faults, count = [], 0
        settings = Settings(load_attempts=1, load_timeout_s=20.0, quarantine_after=1_000, pressure=False)
        async with PreloadManager(self.providers, settings=settings) as manager:
            for attempt in attempts(self.world):
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
